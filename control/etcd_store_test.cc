// The configuration store in etcd and coordinators that stand by, on three etcd
// members of this machine: one coordinator leads, others redirect; members of
// etcd and the leader go away.
#include "control/etcd_store.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "control/cluster_client.h"
#include "control/coordinator_server.h"
#include "control/fake_cluster.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace whale::control {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(60);
constexpr int kMembers = 3;

// Three members on loopback, gone with the test.
class Etcd {
 public:
  Etcd() : port_(12'000 + getpid() % 1000 * 8) {
    // In memory: a busy disk must not cost elections.
    for (std::string folder :
         {"/dev/shm/whale-test.XXXXXX", "/tmp/whale-test.XXXXXX"}) {
      if (mkdtemp(folder.data()) == nullptr) continue;
      folder_ = folder;
      break;
    }
    std::fflush(stdout);
    for (int i = 0; i < kMembers; ++i) Start(i);
  }
  ~Etcd() {
    for (int i = 0; i < kMembers; ++i) Kill(i);
    std::filesystem::remove_all(folder_);
  }

  std::string url(int member) const {
    return absl::StrCat("http://127.0.0.1:", port_ + 2 * member);
  }
  std::string spec() const {
    return absl::StrCat("etcd:", url(0), ",", url(1), ",", url(2));
  }
  void Kill(int member) {
    if (pids_[member] == 0) return;
    kill(pids_[member], SIGKILL);
    waitpid(pids_[member], nullptr, 0);
    pids_[member] = 0;
  }

 private:
  std::string peer(int member) const {
    return absl::StrCat("http://127.0.0.1:", port_ + 2 * member + 1);
  }
  void Start(int member) {
    std::string all;
    for (int i = 0; i < kMembers; ++i) {
      absl::StrAppend(&all, i == 0 ? "" : ",", "m", i, "=", peer(i));
    }
    const std::string name = absl::StrCat("m", member);
    const std::string data = absl::StrCat(folder_, "/", name);
    const std::string log = data + ".log";
    const std::vector<std::string> words = {
        "etcd",       "--name",
        name,         "--data-dir",
        data,         "--listen-client-urls",
        url(member),  "--advertise-client-urls",
        url(member),  "--listen-peer-urls",
        peer(member), "--initial-advertise-peer-urls",
        peer(member), "--initial-cluster",
        all};
    std::vector<char*> arguments;
    for (const std::string& word : words) {
      arguments.push_back(const_cast<char*>(word.c_str()));
    }
    arguments.push_back(nullptr);
    pids_[member] = fork();
    if (pids_[member] != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)!freopen(log.c_str(), "w", stdout);
    (void)!freopen(log.c_str(), "w", stderr);
    execvp("etcd", arguments.data());
    _exit(127);
  }

  const int port_;
  std::string folder_;
  pid_t pids_[kMembers] = {};
};

class EtcdStoreTest : public ::testing::Test {
 protected:
  // Processes before threads.
  Etcd etcd_;
  BootClock clock_;
  int next_port_ = 11'000 + getpid() % 500 * 2;
  std::vector<std::string> addresses_;

  std::unique_ptr<ConfigStore> Open(const std::string& advertise) {
    StoreOptions options;
    options.clock = &clock_;
    options.advertise = advertise;
    options.term = absl::Seconds(2);
    auto store = OpenConfigStore(etcd_.spec(), options);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  // Tries until etcd answers.
  bool Leads(ConfigStore& store, absl::Duration timeout = kLong) {
    const absl::Time deadline = absl::Now() + timeout;
    std::string leader;
    while (absl::Now() < deadline) {
      const auto leads = store.Campaign(absl::Seconds(1), &leader);
      if (leads.ok() && *leads) return true;
      last_ = leads.status();
    }
    return false;
  }
  absl::Status last_;  // why not
  static proto::StoredState State(uint64_t revision) {
    proto::StoredState state;
    state.set_format_version(kStoredFormatVersion);
    state.set_revision(revision);
    return state;
  }
};

TEST_F(EtcdStoreTest, OneLeadsAndItsSuccessorGoesOnFromItsState) {
  std::unique_ptr<ConfigStore> first = Open("first:1");
  ASSERT_TRUE(Leads(*first)) << last_;
  EXPECT_GT(first->LeadershipEndNs(), clock_.NowNs());
  auto loaded = first->Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_FALSE(loaded->has_value());
  EXPECT_TRUE(first->CompareAndSwap(0, State(1)).ok());
  // An answer was lost: the same once more.
  EXPECT_TRUE(first->CompareAndSwap(0, State(1)).ok());
  EXPECT_TRUE(first->CompareAndSwap(1, State(2)).ok());

  std::unique_ptr<ConfigStore> second = Open("second:2");
  std::string leader;
  const auto leads = second->Campaign(absl::Milliseconds(100), &leader);
  ASSERT_TRUE(leads.ok()) << leads.status();
  EXPECT_FALSE(*leads);
  EXPECT_EQ(leader, "first:1");

  etcd_.Kill(0);  // two of three go on
  EXPECT_TRUE(first->CompareAndSwap(2, State(3)).ok());
  first.reset();
  ASSERT_TRUE(Leads(*second)) << last_;
  loaded = second->Load();
  ASSERT_TRUE(loaded.ok() && loaded->has_value()) << loaded.status();
  EXPECT_EQ((*loaded)->revision(), 3u);
  EXPECT_TRUE(second->CompareAndSwap(3, State(4)).ok());
}

TEST_F(EtcdStoreTest, WithoutQuorumNobodyWritesAndTheTermEnds) {
  std::unique_ptr<ConfigStore> store = Open("first:1");
  ASSERT_TRUE(Leads(*store)) << last_;
  ASSERT_TRUE(store->Load().ok());
  ASSERT_TRUE(store->CompareAndSwap(0, State(1)).ok());
  etcd_.Kill(1);
  etcd_.Kill(2);
  const absl::Status status = store->CompareAndSwap(1, State(2));
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("gives no answer"));
  const absl::Time deadline = absl::Now() + kLong;
  while (store->LeadershipEndNs() > clock_.NowNs() && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_LE(store->LeadershipEndNs(), clock_.NowNs());
}

TEST_F(EtcdStoreTest, CoordinatorsStandByAndRedirect) {
  const auto start = [this] {
    CoordinatorServerOptions options;
    options.listen = absl::StrCat("127.0.0.1:", next_port_);
    addresses_.push_back(options.listen);
    ++next_port_;
    options.store = etcd_.spec();
    options.cluster.replicas = 1;
    options.cluster.shard_count = 1;
    options.version = "test";
    auto server = CoordinatorServer::Start(options);
    EXPECT_TRUE(server.ok()) << server.status();
    return *std::move(server);
  };
  std::unique_ptr<CoordinatorServer> first = start();
  const auto leads = [](CoordinatorServer& server) {
    const absl::Time deadline = absl::Now() + kLong;
    while (absl::Now() < deadline) {
      if (server.Status(absl::Seconds(1)).ok()) return true;
      absl::SleepFor(absl::Milliseconds(20));
    }
    return false;
  };
  ASSERT_TRUE(leads(*first));
  std::unique_ptr<CoordinatorServer> second = start();
  EXPECT_FALSE(second->Status(absl::Seconds(1)).ok());

  // Whoever knows only the one that stands by finds the leader.
  ClusterClient client({addresses_[1]});
  EXPECT_TRUE(client.GetStatus(kLong).ok());

  first.reset();
  ASSERT_TRUE(leads(*second));
  EXPECT_TRUE(client.GetStatus(kLong).ok());
  ClusterClient other({addresses_[0], addresses_[1]});
  EXPECT_TRUE(other.GetStatus(kLong).ok());
}

}  // namespace
}  // namespace whale::control
