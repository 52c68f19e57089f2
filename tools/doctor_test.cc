#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "tools/doctor_checks.h"

namespace whale::tools {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

// A sysfs of our own; a machine with nothing until something is written.
class DoctorTest : public ::testing::Test {
 protected:
  DoctorTest() {
    std::string pattern = fs::temp_directory_path() / "whale_doctor_XXXXXX";
    flags_.sysfs = mkdtemp(pattern.data());
    flags_.dir = flags_.sysfs;
  }
  ~DoctorTest() override { fs::remove_all(flags_.sysfs); }

  void Write(const std::string& name, const std::string& text) {
    const fs::path path = fs::path(flags_.sysfs) / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text << "\n";
  }
  void AddAdapter(const std::string& state, const std::string& node) {
    const std::string device = "class/infiniband/mlx5_0/";
    Write(device + "fw_ver", "20.1");
    Write(device + "device/numa_node", node);
    Write(device + "ports/1/state", state);
    Write(device + "ports/1/link_layer", "Ethernet");
    Write(device + "ports/1/rate", "100 Gb/sec (4X EDR)");
  }
  void AddGid(int index, const std::string& gid) {
    const std::string port = "class/infiniband/mlx5_0/ports/1/";
    Write(port + "gids/" + std::to_string(index), gid);
    Write(port + "gid_attrs/types/" + std::to_string(index), "RoCE v2");
    Write(port + "gid_attrs/ndevs/" + std::to_string(index), "eth0");
  }
  static const Finding* Find(const Findings& findings,
                             const std::string& what) {
    for (const Finding& finding : findings) {
      if (finding.what == what) return &finding;
    }
    return nullptr;
  }

  DoctorFlags flags_;
};

TEST_F(DoctorTest, AMachineWithNothingHasNoProblem) {
  Findings findings;
  CheckLimits(flags_, &findings);
  CheckPersistentMemory(flags_, &findings);
  CheckAdapters(flags_, &findings);
  CheckPeers(flags_, &findings);
  for (const Finding& finding : findings) {
    EXPECT_NE(finding.verdict, Verdict::kProblem)
        << finding.what << ": " << finding.text;
  }
  EXPECT_NE(Find(findings, "RDMA adapters"), nullptr);
  EXPECT_EQ(Find(findings, "persistent memory")->text, "none");
}

TEST_F(DoctorTest, NamesPortsAndAllTheirAddresses) {
  AddAdapter("4: ACTIVE", "0");
  AddGid(0, "fe80:0000:0000:0000:0202:03ff:fe04:0506");
  AddGid(1, "fe80:0000:0000:0000:0000:0000:0000:0000");  // an unused entry
  AddGid(10, "0000:0000:0000:0000:0000:ffff:0a00:0001");
  Findings findings;
  CheckAdapters(flags_, &findings);
  const Finding* port = Find(findings, "mlx5_0 port 1");
  ASSERT_NE(port, nullptr);
  EXPECT_EQ(port->verdict, Verdict::kOk);
  EXPECT_THAT(port->text, HasSubstr("ACTIVE, Ethernet, 100 Gb/sec"));
  EXPECT_NE(Find(findings, "mlx5_0 port 1 GID 0"), nullptr);
  EXPECT_EQ(Find(findings, "mlx5_0 port 1 GID 1"), nullptr);
  EXPECT_THAT(Find(findings, "mlx5_0 port 1 GID 10")->text,
              HasSubstr("RoCE v2, of eth0"));
}

TEST_F(DoctorTest, SaysWhichAddressIsTakenAndWhy) {
  AddAdapter("4: ACTIVE", "0");
  AddGid(0, "fe80:0000:0000:0000:0202:03ff:fe04:0506");
  AddGid(1, "0000:0000:0000:0000:0000:ffff:0a00:0001");
  AddGid(2, "0000:0000:0000:0000:0000:ffff:0a00:0001");
  fabric::verbs::Port port{
      .device = "mlx5_0", .active = true, .ethernet = true};
  const fabric::verbs::RawGid link_local = {0xfe, 0x80, 0, 0, 0, 0, 0, 0,
                                            2,    2,    3, 0, 0, 4, 5, 6};
  const fabric::verbs::RawGid ipv4 = {0, 0, 0,    0,    0,  0, 0, 0,
                                      0, 0, 0xff, 0xff, 10, 0, 0, 1};
  port.gids = {{0, fabric::verbs::GidType::kRoceV2, link_local},
               {1, fabric::verbs::GidType::kRoceV1, ipv4},
               {2, fabric::verbs::GidType::kRoceV2, ipv4}};
  Findings findings;
  CheckAdapters(flags_, &findings);
  AddChoice({port}, {}, /*required=*/true, &findings);
  EXPECT_THAT(Find(findings, "mlx5_0 port 1 GID 0")->text,
              HasSubstr("is not: link-local"));
  EXPECT_THAT(Find(findings, "mlx5_0 port 1 GID 1")->text,
              HasSubstr("is not: RoCE v1"));
  EXPECT_THAT(Find(findings, "mlx5_0 port 1 GID 2")->text,
              HasSubstr("10.0.0.1 is taken: IPv4"));
  EXPECT_EQ(Find(findings, "fabric verbs")->verdict, Verdict::kOk);

  findings.clear();
  port.active = false;
  AddChoice({port}, {}, /*required=*/true, &findings);
  EXPECT_EQ(Find(findings, "fabric verbs")->verdict, Verdict::kProblem);
}

TEST_F(DoctorTest, SaysWhyAPortIsOfNoUse) {
  AddAdapter("1: DOWN", "0");
  Findings findings;
  CheckAdapters(flags_, &findings);
  EXPECT_EQ(Find(findings, "mlx5_0 port 1")->verdict, Verdict::kNote);
  EXPECT_THAT(Find(findings, "mlx5_0 port 1")->cure, HasSubstr("ip link set"));

  AddAdapter("4: ACTIVE", "0");
  findings.clear();
  CheckAdapters(flags_, &findings);
  EXPECT_EQ(Find(findings, "mlx5_0 port 1 GIDs")->verdict, Verdict::kProblem);
}

TEST_F(DoctorTest, NotesMemoryThatIsFarFromTheAdapter) {
  AddAdapter("4: ACTIVE", "1");
  Write("bus/nd/devices/region0/numa_node", "1");
  Write("bus/nd/devices/region1/numa_node", "0");
  Findings findings;
  CheckAdapters(flags_, &findings);
  int notes = 0;
  for (const Finding& finding : findings) {
    if (finding.text.find("persistent memory of region1") !=
        std::string::npos) {
      EXPECT_THAT(finding.cure, HasSubstr("--cpunodebind=1"));
      ++notes;
    }
    EXPECT_EQ(finding.text.find("region0"), std::string::npos);
  }
  EXPECT_EQ(notes, 1);
}

TEST_F(DoctorTest, DamagedMemoryIsAProblem) {
  Write("class/block/pmem0/badblocks", "2048 8");
  Findings findings;
  CheckPersistentMemory(flags_, &findings);
  bool found = false;
  for (const Finding& finding : findings) {
    found |= finding.what == "/dev/pmem0" &&
             finding.verdict == Verdict::kProblem &&
             finding.text.find("2048 8") != std::string::npos;
  }
  EXPECT_TRUE(found);
}

TEST_F(DoctorTest, MemlockCureNamesUnitAndLogin) {
  EXPECT_THAT(MemlockCure(), HasSubstr("LimitMEMLOCK=infinity"));
  EXPECT_THAT(MemlockCure(), HasSubstr("memlock unlimited"));
}

}  // namespace
}  // namespace whale::tools
