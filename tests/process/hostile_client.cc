// A client that does not keep to the rules: it writes over memory that it
// shares with the servers while they work on its requests. Started by
// edges_test; what becomes of this process itself does not matter.
//
//   hostile_client values HOST:PORT ROUNDS   changes the bytes of large values
//                                            that it is putting
//   hostile_client rings HOST:PORT ROUNDS    writes garbage over all memory
//                                            that it shares

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/prng.h"
#include "whale/client.h"

namespace whale::process_test {
namespace {

constexpr size_t kValueBytes = 1 << 20;

struct Range {
  std::byte* begin;
  size_t length_bytes;
};

// Writable memory of this process that others may have mapped too.
std::vector<Range> SharedRanges() {
  std::vector<Range> ranges;
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    uintptr_t begin = 0, end = 0;
    char rights[5] = {};
    if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, rights) == 3 &&
        std::strcmp(rights, "rw-s") == 0) {
      ranges.push_back({reinterpret_cast<std::byte*>(begin), end - begin});
    }
  }
  return ranges;
}

void StoreByte(std::byte* at, uint8_t value) {
  __atomic_store_n(reinterpret_cast<uint8_t*>(at), value, __ATOMIC_RELAXED);
}

// Turns letters of the values over, wherever they lie in shared memory, and
// leaves everything else alone.
void ChangeValues(const std::atomic<bool>& stop) {
  Prng random(1);
  const std::vector<Range> ranges = SharedRanges();
  while (!stop) {
    for (const Range& range : ranges) {
      for (size_t i = 0; i + 8 <= range.length_bytes && !stop; i += 4096) {
        std::byte* at = range.begin + i;
        uint64_t word;
        std::memcpy(&word, at, sizeof(word));
        // Eight equal letters: the middle of a value.
        if (word == 0x6161616161616161 || word == 0x6262626262626262) {
          StoreByte(at + random.Below(8), random.Chance(0.5) ? 'a' : 'b');
        }
      }
    }
  }
}

void WriteGarbage(const std::atomic<bool>& stop) {
  Prng random(2);
  while (!stop) {
    for (const Range& range : SharedRanges()) {
      for (int i = 0; i < 64; ++i) {
        StoreByte(range.begin + random.Below(range.length_bytes),
                  static_cast<uint8_t>(random.Next()));
      }
    }
  }
}

int Main(const std::string& what, const std::string& cluster, int rounds) {
  ClientOptions options;
  options.coordinators = {cluster};
  options.timeout = absl::Seconds(2);
  absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect(options);
  if (!client.ok()) {
    std::fprintf(stderr, "%s\n", client.status().ToString().c_str());
    return 1;
  }
  // Connections and their memory are there after the first answers.
  for (int i = 0; i < 16; ++i) {
    (void)(*client)->Put(absl::StrCat("hostile", i), "a");
  }
  std::printf("hostile\n");
  std::fflush(stdout);
  std::atomic<bool> stop = false;
  std::thread attacker([&] {
    if (what == "values") {
      ChangeValues(stop);
    } else {
      WriteGarbage(stop);
    }
  });
  for (int i = 0; i < rounds; ++i) {
    const std::string value(kValueBytes, i % 2 == 0 ? 'a' : 'b');
    // The answer may be anything, an error too.
    (void)(*client)->Put(absl::StrCat("hostile", i % 16), value);
    (void)(*client)->Get(absl::StrCat("hostile", i % 16));
  }
  stop = true;
  attacker.join();
  return 0;
}

}  // namespace
}  // namespace whale::process_test

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return whale::process_test::Main(argv[1], argv[2], std::atoi(argv[3]));
}
