// How long writes stop when a server is lost: puts keys one after the other,
// each again as soon as it is acknowledged, kills a process meanwhile, and
// prints the longest pause between two acknowledgements of one key.
//
//   whale_failover_gap --cluster HOST:PORT --kill PID
//
// See bench/failover.sh, which starts the cluster.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "bench/monotonic.h"
#include "whale/client.h"

namespace {

constexpr int64_t kSecond = 1'000'000'000;

struct Key {
  std::string name;
  int64_t acknowledged_ns = 0;
  int64_t longest_ns = 0;
  uint64_t refused = 0;
};

class Gaps {
 public:
  Gaps(whale::Client* client, int keys) : client_(client), keys_(keys) {
    for (int i = 0; i < keys; ++i) keys_[i].name = "gap-" + std::to_string(i);
  }
  void Start() {
    for (Key& key : keys_) {
      key.acknowledged_ns = whale::bench::MonotonicNs();
      Put(&key);
    }
  }
  void RunFor(int64_t ns) {
    const int64_t end = whale::bench::MonotonicNs() + ns;
    while (whale::bench::MonotonicNs() < end) client_->Poll();
  }
  void Forget() {
    for (Key& key : keys_) key.longest_ns = 0;
  }
  void Stop() {
    stopping_ = true;
    while (in_flight_ > 0) client_->Poll();
  }
  void Print() const {
    std::vector<int64_t> gaps;
    uint64_t refused = 0;
    for (const Key& key : keys_) {
      gaps.push_back(key.longest_ns);
      refused += key.refused;
    }
    std::sort(gaps.begin(), gaps.end());
    std::printf("%.1f %.1f %llu\n", gaps.back() / 1e6,
                gaps[gaps.size() / 2] / 1e6,
                static_cast<unsigned long long>(refused));
  }

 private:
  void Put(Key* key) {
    ++in_flight_;
    client_->PutAsync(key->name, "value", {},
                      [this, key](absl::StatusOr<whale::WriteResult> result) {
                        Done(key, result.ok());
                      });
  }
  void Done(Key* key, bool ok) {
    --in_flight_;
    const int64_t now = whale::bench::MonotonicNs();
    if (ok) {
      key->longest_ns = std::max(key->longest_ns, now - key->acknowledged_ns);
      key->acknowledged_ns = now;
    } else {
      ++key->refused;
    }
    if (!stopping_) Put(key);
  }

  whale::Client* const client_;
  std::vector<Key> keys_;
  int in_flight_ = 0;
  bool stopping_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  std::string cluster = "127.0.0.1:7400";
  pid_t victim = 0;
  int keys = 24;
  CLI::App app("Kills a process and measures for how long puts stop.");
  app.add_option("--cluster", cluster, "HOST:PORT of the coordinator");
  app.add_option("--kill", victim, "Process to kill")->required();
  app.add_option("--keys", keys, "Keys, spread over the shards by their hash");
  CLI11_PARSE(app, argc, argv);
  auto client = whale::Client::Connect(
      {.coordinators = {cluster}, .timeout = absl::Seconds(60)});
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().ToString().c_str());
    return 2;
  }
  Gaps gaps(client->get(), keys);
  gaps.Start();
  gaps.RunFor(kSecond);
  gaps.Forget();
  gaps.RunFor(kSecond / 2);
  if (kill(victim, SIGKILL) != 0) {
    std::perror("kill");
    return 2;
  }
  gaps.RunFor(4 * kSecond);
  gaps.Stop();
  gaps.Print();
  return 0;
}
