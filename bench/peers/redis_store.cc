#include "bench/peers/redis_store.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status_macros.h"

namespace whale::bench::peers {
namespace {

constexpr std::string_view kSetAnswer = "+OK\r\n";
constexpr int kTimeoutMs = 10'000;

void AppendBulk(std::string* out, std::string_view text) {
  absl::StrAppend(out, "$", text.size(), "\r\n");
  out->append(text);
  out->append("\r\n");
}

std::string WaitCommand(uint32_t replicas) {
  std::string out = "*3\r\n";
  AppendBulk(&out, "WAIT");
  AppendBulk(&out, std::to_string(replicas));
  AppendBulk(&out, std::to_string(kTimeoutMs));
  return out;
}

absl::Status Errno(const char* what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", strerror(errno)));
}

}  // namespace

RedisStore::RedisStore(const RedisOptions& options)
    : options_(options),
      value_head_(absl::StrCat("$", options.value_bytes, "\r\n")),
      wait_(WaitCommand(options.wait_replicas)),
      wait_answer_(absl::StrCat(":", options.wait_replicas, "\r\n")),
      connections_(options.gather ? 1 : options.connections) {}

RedisStore::~RedisStore() {
  for (const Connection& connection : connections_) {
    if (connection.fd >= 0) close(connection.fd);
  }
  if (epoll_ >= 0) close(epoll_);
}

absl::StatusOr<std::unique_ptr<ycsb::Store>> RedisStore::Open(
    const RedisOptions& options) {
  std::unique_ptr<RedisStore> store(new RedisStore(options));
  WHALE_RETURN_IF_ERROR(store->Connect());
  return std::unique_ptr<ycsb::Store>(std::move(store));
}

absl::Status RedisStore::Connect() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return Errno("epoll_create1");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(options_.port);
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return Errno("socket");
    connections_[i].fd = fd;
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) !=
        0) {
      return Errno("connecting to Redis");
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    const timeval timeout{kTimeoutMs / 1000, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u32 = i;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
      return Errno("epoll_ctl");
    }
    idle_.push_back(i);
  }
  return absl::OkStatus();
}

RedisStore::Connection& RedisStore::Claim() {
  if (options_.gather) return connections_[0];
  WHALE_CHECK(!idle_.empty());
  Connection& connection = connections_[idle_.back()];
  idle_.pop_back();
  return connection;
}

void RedisStore::Read(std::string_view key, ReadDone done) {
  Connection& c = Claim();
  c.out.append("*2\r\n$3\r\nGET\r\n");
  AppendBulk(&c.out, key);
  c.expected += value_head_.size() + options_.value_bytes + 2;
  c.due.push_back({std::move(done), nullptr});
  Submit(&c, false);
}

void RedisStore::Write(std::string_view key, std::string_view value,
                       WriteDone done) {
  Connection& c = Claim();
  c.out.append("*3\r\n$3\r\nSET\r\n");
  AppendBulk(&c.out, key);
  AppendBulk(&c.out, value);
  c.expected += kSetAnswer.size();
  c.due.push_back({nullptr, std::move(done)});
  Submit(&c, true);
}

void RedisStore::Submit(Connection* connection, bool write) {
  ++in_flight_;
  connection->out_writes |= write;
  if (!options_.gather) Send(connection);
}

void RedisStore::Send(Connection* connection) {
  if (connection->out_writes && options_.wait_replicas > 0) {
    connection->out.append(wait_);
    connection->expected += wait_answer_.size();
    connection->waits = true;
  }
  connection->out_writes = false;
  size_t sent = 0;
  while (broken_.ok() && sent < connection->out.size()) {
    const ssize_t n = send(connection->fd, connection->out.data() + sent,
                           connection->out.size() - sent, MSG_NOSIGNAL);
    if (n < 0) {
      broken_ = Errno("sending to Redis");
    } else {
      sent += n;
    }
  }
  connection->out.clear();
}

size_t RedisStore::Poll(int64_t) {
  if (in_flight_ == 0) return 0;
  // A batch goes out when the one before it has been answered.
  if (options_.gather && !connections_[0].out.empty()) Send(&connections_[0]);
  if (!broken_.ok()) return Fail("");
  return connections_.size() == 1 ? Receive(&connections_[0]) : WaitForAny();
}

size_t RedisStore::WaitForAny() {
  std::array<epoll_event, 64> events;
  const int n = epoll_wait(epoll_, events.data(), events.size(), kTimeoutMs);
  if (n <= 0) return Fail("no answer from Redis in time");
  size_t ran = 0;
  for (int i = 0; i < n && broken_.ok(); ++i) {
    ran += Receive(&connections_[events[i].data.u32]);
  }
  return ran;
}

size_t RedisStore::Receive(Connection* connection) {
  std::array<char, 64 * 1024> bytes;
  const ssize_t n = recv(connection->fd, bytes.data(), bytes.size(), 0);
  if (n <= 0) return Fail("no answer from Redis in time, or it has gone");
  connection->in.append(bytes.data(), n);
  const std::string& in = connection->in;
  if (in[0] == '-' || in.size() > connection->expected) {
    return Fail("Redis answered " + in.substr(0, 200));
  }
  if (in.size() < connection->expected) return 0;
  return Answer(connection);
}

absl::Status RedisStore::CheckWait(const Connection& connection) const {
  if (!connection.waits || connection.in.ends_with(wait_answer_)) {
    return absl::OkStatus();
  }
  return absl::UnavailableError("fewer replicas than asked for have the write");
}

// All that is due has come.
size_t RedisStore::Answer(Connection* connection) {
  const absl::Status waited = CheckWait(*connection);
  const std::string in = std::exchange(connection->in, {});
  std::deque<Due> due = std::exchange(connection->due, {});
  connection->expected = 0;
  connection->waits = false;
  in_flight_ -= due.size();
  if (!options_.gather) {
    idle_.push_back(static_cast<uint32_t>(connection - connections_.data()));
  }
  std::string_view left = in;
  for (Due& one : due) {
    if (one.write) {
      const bool ok = left.starts_with(kSetAnswer);
      left.remove_prefix(kSetAnswer.size());
      one.write(ok ? waited : absl::UnavailableError("SET: " + in));
    } else if (left.starts_with(value_head_)) {
      left.remove_prefix(value_head_.size());
      one.read(std::string(left.substr(0, options_.value_bytes)));
      left.remove_prefix(options_.value_bytes + 2);
    } else {
      one.read(absl::UnavailableError("GET: " + in.substr(0, 200)));
      left = {};
    }
  }
  return due.size();
}

size_t RedisStore::Fail(const std::string& what) {
  if (broken_.ok()) broken_ = absl::UnavailableError(what);
  size_t ran = 0;
  idle_.clear();
  for (uint32_t i = 0; i < connections_.size(); ++i) {
    std::deque<Due> due = std::exchange(connections_[i].due, {});
    in_flight_ -= due.size();
    idle_.push_back(i);
    for (Due& one : due) {
      one.write ? one.write(broken_) : one.read(broken_);
      ++ran;
    }
  }
  return ran;
}

}  // namespace whale::bench::peers
