#include "pmem/memory_errors.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace whale::pmem {
namespace {

constexpr char kCure[] =
    "; let the server be refilled from the others: remove the file (of a "
    "device: ndctl clear-errors, then daxio -z -o DEVICE) and start again";

struct Place {
  std::atomic<const char*> path{nullptr};  // set last; null: free
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> base{0};
  std::atomic<uint64_t> bytes{0};
};
constexpr int kPlaces = 16;
Place places[kPlaces];

// For the handler, where nothing may be allocated.
void Say(const char* text) {
  [[maybe_unused]] const ssize_t n =
      write(STDERR_FILENO, text, std::strlen(text));
}

void SayNumber(uint64_t number) {
  char digits[21];
  char* at = digits + sizeof(digits) - 1;
  *at = 0;
  do {
    *--at = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  Say(at);
}

void OnMemoryError(int /*signal*/, siginfo_t* info, void* /*context*/) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Place& place : places) {
    const char* path = place.path.load();
    const uintptr_t base = place.base.load();
    if (path == nullptr || address < base || address - base >= place.bytes) {
      continue;
    }
    Say("whale: the memory under ");
    Say(path);
    Say(" cannot be used at offset ");
    SayNumber(address - base);
    Say(" (SIGBUS: damaged, or the file was cut off)");
    Say(kCure);
    Say("\n");
  }
  // The handler is gone (SA_RESETHAND): the access comes again, and kills.
}

void InstallOnce() {
  [[maybe_unused]] static const bool installed = [] {
    struct sigaction action = {};
    action.sa_sigaction = OnMemoryError;
    action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND);
    sigaction(SIGBUS, &action, nullptr);
    return true;
  }();
}

}  // namespace

absl::Status DamagedMemory(const std::string& path, uint64_t offset,
                           uint64_t bytes) {
  return absl::DataLossError(absl::StrCat("the memory under ", path,
                                          " is damaged at offset ", offset,
                                          " (", bytes, " bytes)", kCure));
}

NamedMapping::NamedMapping(const std::byte* base, uint64_t bytes,
                           const char* path) {
  InstallOnce();
  for (int i = 0; i < kPlaces; ++i) {
    if (places[i].taken.exchange(true)) continue;
    places[i].base = reinterpret_cast<uintptr_t>(base);
    places[i].bytes = bytes;
    places[i].path = path;
    place_ = i;
    return;
  }
}

NamedMapping::~NamedMapping() {
  if (place_ < 0) return;
  places[place_].path = nullptr;
  places[place_].taken = false;
}

NamedMapping::NamedMapping(NamedMapping&& other) noexcept
    : place_(std::exchange(other.place_, -1)) {}

NamedMapping& NamedMapping::operator=(NamedMapping&& other) noexcept {
  std::swap(place_, other.place_);
  return *this;
}

}  // namespace whale::pmem
