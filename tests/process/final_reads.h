// The reads after the last repair: every key at every replica.
#ifndef WHALE_TESTS_PROCESS_FINAL_READS_H_
#define WHALE_TESTS_PROCESS_FINAL_READS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/process/history_file.h"
#include "whale/client.h"

namespace whale::process_test {

// key0 to key<count - 1>, those of client processes.
std::vector<std::string> ClientKeys(uint64_t count);

// Reads `keys` linearizably at replicas 1 to `replicas`, into the history.
// Gives what was wrong by itself: failures, and mangled values, those that
// `name_of` has no name for.
std::vector<std::string> ReadFinally(
    Client* client, const std::vector<std::string>& keys, uint32_t replicas,
    HistoryWriter* writer,
    std::string (*name_of)(std::string_view value) = NameOfValue);

}  // namespace whale::process_test

#endif  // WHALE_TESTS_PROCESS_FINAL_READS_H_
