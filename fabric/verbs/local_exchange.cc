#include "fabric/verbs/local_exchange.h"

#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"

namespace whale::fabric {

class LocalExchange;

// Calls are numbered across the hub: 2n at the caller, 2n + 1 at the called.
struct LocalExchangeHub::State {
  std::mutex mutex;
  uint64_t next_call = 1;
  std::map<std::string, LocalExchange*> by_name;
  std::map<uint64_t, LocalExchange*> by_call;  // open halves
};

class LocalExchange final : public Exchange {
 public:
  LocalExchange(std::shared_ptr<LocalExchangeHub::State> hub, std::string name)
      : hub_(std::move(hub)), name_(std::move(name)) {
    const std::lock_guard lock(hub_->mutex);
    hub_->by_name[name_] = this;
  }
  ~LocalExchange() override {
    const std::lock_guard lock(hub_->mutex);
    hub_->by_name.erase(name_);
    for (auto it = hub_->by_call.begin(); it != hub_->by_call.end();) {
      if (it->second != this) {
        ++it;
        continue;
      }
      const uint64_t call = it->first;
      it = hub_->by_call.erase(it);
      Tell(call ^ 1, Kind::kEnded, absl::StrCat(name_, " is gone"));
    }
  }

  std::string address() const override { return name_; }
  void SetWake(std::function<void()> wake) override {
    const std::lock_guard lock(hub_->mutex);
    wake_ = std::move(wake);
  }

  uint64_t Call(const std::string& address) override {
    const std::lock_guard lock(hub_->mutex);
    const uint64_t call = hub_->next_call++ * 2;
    const auto found = hub_->by_name.find(address);
    if (found == hub_->by_name.end()) {
      Push({.kind = Kind::kEnded,
            .call = call,
            .text = absl::StrCat("nobody listens at ", address)});
      return call;
    }
    hub_->by_call[call] = this;
    hub_->by_call[call ^ 1] = found->second;
    found->second->Push({.kind = Kind::kCalled,
                         .call = call ^ 1,
                         .text = name_,
                         .is_server = true});
    return call;
  }

  void Send(uint64_t call, std::string message) override {
    const std::lock_guard lock(hub_->mutex);
    if (hub_->by_call.contains(call)) {
      Tell(call ^ 1, Kind::kMessage, std::move(message));
    }
  }

  void End(uint64_t call) override {
    const std::lock_guard lock(hub_->mutex);
    if (hub_->by_call.erase(call) == 0) return;
    Tell(call ^ 1, Kind::kEnded, absl::StrCat(name_, " closed the connection"));
    hub_->by_call.erase(call ^ 1);
  }

  bool Take(Event* event) override {
    const std::lock_guard lock(hub_->mutex);
    if (events_.empty()) return false;
    *event = std::move(events_.front());
    events_.pop_front();
    return true;
  }

 private:
  // REQUIRES: the hub's mutex is held.
  void Push(Event event) {
    events_.push_back(std::move(event));
    if (wake_) wake_();
  }
  void Tell(uint64_t call, Kind kind, std::string text) {
    const auto found = hub_->by_call.find(call);
    if (found == hub_->by_call.end()) return;
    found->second->Push({.kind = kind, .call = call, .text = std::move(text)});
  }

  const std::shared_ptr<LocalExchangeHub::State> hub_;
  const std::string name_;
  // Guarded by the hub's mutex.
  std::function<void()> wake_;
  std::deque<Event> events_;
};

LocalExchangeHub::LocalExchangeHub() : state_(std::make_shared<State>()) {}
LocalExchangeHub::~LocalExchangeHub() = default;

std::unique_ptr<Exchange> LocalExchangeHub::Listen(const std::string& name) {
  return std::make_unique<LocalExchange>(state_, name);
}

}  // namespace whale::fabric
