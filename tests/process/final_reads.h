// The reads after the last repair: every key at every replica.
#ifndef WHALE_TESTS_PROCESS_FINAL_READS_H_
#define WHALE_TESTS_PROCESS_FINAL_READS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/process/history_file.h"
#include "whale/client.h"

namespace whale::process_test {

// Reads key0 to key<keys - 1> linearizably at replicas 1 to `replicas`, into
// the history. Gives what was wrong by itself: mangled values, failures.
std::vector<std::string> ReadFinally(Client* client, uint64_t keys,
                                     uint32_t replicas, HistoryWriter* writer);

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_FINAL_READS_H_
