#include "fabric/shm/process.h"

#include <dirent.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

namespace whale::fabric::shm {
namespace {

struct Stat {
  char state = 0;  // 0: no such process
  uint64_t start = 0;
};

Stat ReadStat(uint64_t pid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%llu/stat",
                static_cast<unsigned long long>(pid));
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return {};
  char line[1024];
  const size_t length = std::fread(line, 1, sizeof(line) - 1, file);
  std::fclose(file);
  line[length] = 0;
  // The name may hold anything, so fields are counted from its last ')'.
  const char* rest = std::strrchr(line, ')');
  if (rest == nullptr) return {};
  Stat stat;
  unsigned long long start = 0;
  // Fields 3 (state) and 22 (start time) of proc(5).
  if (std::sscanf(rest + 1,
                  " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                  "%*s %*s %*s %*s %*s %llu",
                  &stat.state, &start) != 2) {
    return {};
  }
  stat.start = start;
  return stat;
}

// A process whose first thread has ended looks dead while others still run.
bool HasOtherThreads(uint64_t pid) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%llu/task",
                static_cast<unsigned long long>(pid));
  DIR* directory = opendir(path);
  if (directory == nullptr) return false;
  int threads = 0;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] != '.') ++threads;
  }
  closedir(directory);
  return threads > 1;
}

}  // namespace

Process ProcessByPid(uint64_t pid) {
  return Process{.pid = pid, .start = ReadStat(pid).start};
}

Process ThisProcess() { return ProcessByPid(static_cast<uint64_t>(getpid())); }

Life LifeOf(const Process& process) {
  const Stat stat = ReadStat(process.pid);
  if (stat.state == 0 || stat.start != process.start) return Life::kGone;
  switch (stat.state) {
    case 'X':
      return Life::kGone;
    case 'Z':
      return HasOtherThreads(process.pid) ? Life::kRunning : Life::kGone;
    case 'T':
    case 't':
      return Life::kStopped;
    default:
      return Life::kRunning;
  }
}

}  // namespace whale::fabric::shm
