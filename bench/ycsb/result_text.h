// A phase's result as one line of text and back, exactly: from a process of the
// harness to the one that sums up.
#ifndef WHALE_BENCH_YCSB_RESULT_TEXT_H_
#define WHALE_BENCH_YCSB_RESULT_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "bench/ycsb/runner.h"

namespace whale::bench::ycsb {

// Contains no line break.
std::string ResultToText(const PhaseResult& result);
// Errors: kInvalidArgument (not what ResultToText gives).
absl::StatusOr<PhaseResult> ResultFromText(const std::string& text);

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_RESULT_TEXT_H_
