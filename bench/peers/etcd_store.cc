#include "bench/peers/etcd_store.h"

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/etcd.grpc.pb.h"

namespace whale::bench::peers {
namespace {

constexpr auto kTimeout = std::chrono::seconds(10);

absl::Status FromGrpc(const char* what, const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(what, ": ", status.error_message()));
}

class EtcdStore final : public ycsb::Store {
 public:
  explicit EtcdStore(std::shared_ptr<grpc::Channel> channel)
      : kv_(etcdserverpb::KV::NewStub(channel)) {}
  ~EtcdStore() override {
    queue_.Shutdown();
    void* tag;
    bool ok;
    while (queue_.Next(&tag, &ok)) delete static_cast<Call*>(tag);
  }

  void Read(std::string_view key, ReadDone done) override {
    auto* call = new Get(std::move(done));
    etcdserverpb::RangeRequest request;
    request.set_key(std::string(key));
    call->reader = kv_->AsyncRange(&call->context, request, &queue_);
    call->reader->Finish(&call->response, &call->status, call);
  }
  void Write(std::string_view key, std::string_view value,
             WriteDone done) override {
    auto* call = new Put(std::move(done));
    etcdserverpb::PutRequest request;
    request.set_key(std::string(key));
    request.set_value(std::string(value));
    call->reader = kv_->AsyncPut(&call->context, request, &queue_);
    call->reader->Finish(&call->response, &call->status, call);
  }

  size_t Poll(int64_t wait_ns) override {
    size_t ran = 0;
    auto until =
        std::chrono::system_clock::now() + std::chrono::nanoseconds(wait_ns);
    void* tag;
    bool ok;
    while (queue_.AsyncNext(&tag, &ok, until) ==
           grpc::CompletionQueue::GOT_EVENT) {
      const std::unique_ptr<Call> call(static_cast<Call*>(tag));
      call->Done();
      ++ran;
      until = std::chrono::system_clock::time_point();  // what else is there
    }
    return ran;
  }

 private:
  // Deletes itself when it is done.
  struct Call {
    Call() {
      context.set_deadline(std::chrono::system_clock::now() + kTimeout);
    }
    virtual ~Call() = default;
    virtual void Done() = 0;
    grpc::ClientContext context;
    grpc::Status status;
  };
  struct Put final : Call {
    explicit Put(WriteDone d) : done(std::move(d)) {}
    void Done() override { done(FromGrpc("Put", status)); }
    WriteDone done;
    etcdserverpb::PutResponse response;
    std::unique_ptr<grpc::ClientAsyncResponseReader<etcdserverpb::PutResponse>>
        reader;
  };
  struct Get final : Call {
    explicit Get(ReadDone d) : done(std::move(d)) {}
    void Done() override {
      if (!status.ok()) {
        done(FromGrpc("Range", status));
      } else if (response.kvs().empty()) {
        done(absl::NotFoundError("no such key"));
      } else {
        done(std::move(*response.mutable_kvs(0)->mutable_value()));
      }
    }
    ReadDone done;
    etcdserverpb::RangeResponse response;
    std::unique_ptr<
        grpc::ClientAsyncResponseReader<etcdserverpb::RangeResponse>>
        reader;
  };

  std::unique_ptr<etcdserverpb::KV::Stub> kv_;
  grpc::CompletionQueue queue_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ycsb::Store>> OpenEtcdStore(
    const std::string& address) {
  auto channel =
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + kTimeout)) {
    return absl::UnavailableError("no etcd at " + address);
  }
  return std::make_unique<EtcdStore>(std::move(channel));
}

}  // namespace whale::bench::peers
