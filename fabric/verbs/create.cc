// Opening the device, and the sizes of what a fabric takes from it.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/status_macros.h"
#include "fabric/verbs/fabric_impl.h"
#include "fabric/verbs/native_flush.h"
#include "fabric/verbs/on_demand.h"

namespace whale::fabric::verbs {
namespace {

constexpr uint32_t kReadDepthWanted = 16;
constexpr uint32_t kMostConnections = 1 << 14;  // a slot has 15 bits

ContextHandle OpenByName(const std::string& name) {
  int count = 0;
  ibv_device** devices = ibv_get_device_list(&count);
  if (devices == nullptr) return nullptr;
  const absl::Cleanup free_list = [&] { ibv_free_device_list(devices); };
  for (int i = 0; i < count; ++i) {
    if (name == ibv_get_device_name(devices[i])) {
      return ContextHandle(ibv_open_device(devices[i]));
    }
  }
  return nullptr;
}

absl::Status MakeNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return VerbsError("fcntl of a device's descriptor", errno);
  }
  return absl::OkStatus();
}

}  // namespace

VerbsFabricImpl::VerbsFabricImpl(const VerbsOptions& options,
                                 std::unique_ptr<Exchange> exchange)
    : options_(options), exchange_(std::move(exchange)) {}

absl::StatusOr<std::unique_ptr<VerbsFabric>> VerbsFabricImpl::Create(
    const VerbsOptions& options, std::unique_ptr<Exchange> exchange) {
  std::unique_ptr<VerbsFabricImpl> fabric(
      new VerbsFabricImpl(options, std::move(exchange)));
  WHALE_RETURN_IF_ERROR(fabric->Init());
  return fabric;
}

absl::Status VerbsFabricImpl::Init() {
  if (options_.max_connections == 0 || options_.send_queue_depth == 0 ||
      options_.credits < 2 || options_.handshake_us <= 0 ||
      options_.registration_piece_bytes == 0) {
    return absl::InvalidArgumentError(
        "verbs: connections, queue depth, credits (from 2), handshake time "
        "and registration pieces must be positive");
  }
  if (options_.flush.durable && options_.persist == nullptr) {
    return absl::InvalidArgumentError(
        "verbs: durable memory needs a way to persist it");
  }
  wake_ = FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.valid()) return VerbsError("eventfd", errno);
  WHALE_RETURN_IF_ERROR(OpenDevice());
  WHALE_RETURN_IF_ERROR(MakeQueues());
  exchange_->SetWake([this] {
    setup_waits_.store(true, std::memory_order_release);
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written =
        write(wake_.get(), &one, sizeof(one));
  });
  if (options_.inform) {
    options_.inform(absl::StrCat(
        "verbs: ", description(), ", at most ", options_.max_connections,
        " connections, native flush ",
        flush_capabilities_.native ? "possible" : "not available"));
  }
  return absl::OkStatus();
}

std::string VerbsFabricImpl::description() const {
  const FlushChoice flush =
      ChooseFlush(flush_capabilities_, flush_capabilities_);
  return absl::StrCat(
      path_, ", flush into it: ", std::string(FlushMethodName(flush.method)),
      flush.unsafe ? " (UNSAFE)" : "");
}

// What cannot be flushed natively must not be promised so: connections that are
// made from now on choose without.
absl::StatusOr<RegionId> VerbsFabricImpl::Register(const Memory& memory,
                                                   const Access& access) {
  WHALE_ASSIGN_OR_RETURN(const RegionId region,
                         regions_->Register(memory, access));
  if (flush_capabilities_.native && regions_->flush_refused()) {
    flush_capabilities_.native = false;
    if (options_.inform) {
      options_.inform(absl::StrCat("verbs: this memory refuses RDMA FLUSH: ",
                                   description()));
    }
  }
  return region;
}

absl::Status VerbsFabricImpl::OpenDevice() {
  WHALE_ASSIGN_OR_RETURN(const std::vector<Port> ports, ListPorts());
  WHALE_ASSIGN_OR_RETURN(pair_config_.choice, ChoosePort(ports, options_));
  const Port& port = pair_config_.choice.port;
  context_ = OpenByName(port.device);
  if (context_ == nullptr) {
    return VerbsError(absl::StrCat("open device ", port.device), errno);
  }
  if (options_.mtu_bytes > port.mtu_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verbs: mtu=", options_.mtu_bytes, ", but ", port.device, " port ",
        port.number, " has ", port.mtu_bytes,
        "; raise that of its network interface, or leave mtu out"));
  }
  pair_config_.mtu_bytes =
      options_.mtu_bytes != 0 ? options_.mtu_bytes : port.mtu_bytes;
  path_ = DescribeChoice(pair_config_.choice, pair_config_.mtu_bytes);
  WHALE_RETURN_IF_ERROR(MakeNonBlocking(context_->async_fd));
  domain_.reset(ibv_alloc_pd(context_.get()));
  if (domain_ == nullptr) return VerbsError("protection domain", errno);
  flush_capabilities_.native = CanFlush(context_.get());
  flush_capabilities_.needs = options_.flush;
  regions_.emplace(RegionsConfig{
      .domain = domain_.get(),
      .piece_bytes = options_.registration_piece_bytes,
      .flush_access = flush_capabilities_.native
                          ? FlushAccessFlags(options_.flush.durable)
                          : 0,
      .tell_from_bytes = options_.registration_tell_bytes,
      .try_on_demand =
          [this] {
            return TryOnDemandPaging(context_.get(), pair_config_, options_);
          },
      .inform = options_.inform});
  return absl::OkStatus();
}

uint32_t VerbsFabricImpl::SendRequests() const {
  return options_.send_queue_depth + kMessagesAtOnce + kNoticesAtOnce +
         kFlushesAtOnce;
}

// All that may ever be in the completion queue must fit: after an error every
// request has a completion. What the device has too little for limits the
// number of connections.
absl::Status VerbsFabricImpl::MakeQueues() {
  ibv_device_attr device = {};
  const int error = ibv_query_device(context_.get(), &device);
  if (error != 0) return VerbsError("query the device", error);
  const uint32_t requests = SendRequests();
  if (requests > static_cast<uint32_t>(device.max_qp_wr)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "verbs: a send queue of ", requests, " requests; the device takes ",
        device.max_qp_wr, "; use a smaller depth"));
  }
  const uint32_t share = options_.credits + kBuffersWithoutCredit;
  const uint32_t most =
      std::min({options_.max_connections, kMostConnections,
                static_cast<uint32_t>(device.max_cqe) / (requests + share),
                static_cast<uint32_t>(device.max_srq_wr) / share,
                static_cast<uint32_t>(device.max_qp)});
  if (most == 0) {
    return absl::ResourceExhaustedError(
        "verbs: the device's queues are too small for one connection; use "
        "fewer credits or a smaller depth");
  }
  options_.max_connections = most;
  connections_.resize(most);
  generations_.resize(most);
  channel_.reset(ibv_create_comp_channel(context_.get()));
  if (channel_ == nullptr) return VerbsError("completion channel", errno);
  WHALE_RETURN_IF_ERROR(MakeNonBlocking(channel_->fd));
  const uint32_t completions = most * (requests + share);
  completions_.reset(ibv_create_cq(context_.get(),
                                   static_cast<int>(completions), nullptr,
                                   channel_.get(), 0));
  if (completions_ == nullptr) {
    return VerbsError(absl::StrCat("completion queue of ", completions), errno);
  }
  WHALE_ASSIGN_OR_RETURN(receives_,
                         ReceiveQueue::Create(domain_.get(), share, most));
  pair_config_.domain = domain_.get();
  pair_config_.completions = completions_.get();
  pair_config_.receives = receives_->handle();
  pair_config_.send_requests = requests;
  pair_config_.inline_bytes = kMaxInlineBytes;
  pair_config_.read_depth = std::min<uint32_t>(
      {kReadDepthWanted, static_cast<uint32_t>(device.max_qp_rd_atom),
       static_cast<uint32_t>(device.max_qp_init_rd_atom)});
  pair_config_.native_flush = flush_capabilities_.native;
  stash_.reserve(1024);
  return absl::OkStatus();
}

VerbsFabricImpl::~VerbsFabricImpl() {
  FlushMessages();
  for (auto& c : connections_) {
    if (c != nullptr) Detach(*c);
  }
  exchange_.reset();  // nobody wakes us any more
  if (unacknowledged_ > 0) {
    ibv_ack_cq_events(completions_.get(), unacknowledged_);
  }
}

}  // namespace whale::fabric::verbs

namespace whale::fabric {

absl::StatusOr<std::unique_ptr<VerbsFabric>> CreateVerbsFabric(
    const VerbsOptions& options, std::unique_ptr<Exchange> exchange) {
  return verbs::VerbsFabricImpl::Create(options, std::move(exchange));
}

absl::StatusOr<std::string> VerbsHostAddress(const VerbsOptions& options) {
  WHALE_ASSIGN_OR_RETURN(const std::vector<verbs::Port> ports,
                         verbs::ListPorts());
  WHALE_ASSIGN_OR_RETURN(const verbs::PortChoice choice,
                         verbs::ChoosePort(ports, options));
  if (!choice.port.ethernet) return "";
  return verbs::GidText(choice.gid.raw);
}

}  // namespace whale::fabric
