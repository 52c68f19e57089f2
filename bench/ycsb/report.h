// What a YCSB run found: in YCSB's own text format, as JSON, and as a line of
// progress.
#ifndef WHALE_BENCH_YCSB_REPORT_H_
#define WHALE_BENCH_YCSB_REPORT_H_

#include <string>

#include "bench/ycsb/runner.h"

namespace whale::bench::ycsb {

// "run: 3 s, 123456 of 1000000 operations, 41234 operations/s, 21 s to go".
std::string ProgressLine(const Progress& progress);

// "[OVERALL], RunTime(ms), 1234" and so on; latencies in microseconds.
std::string TextSummary(const PhaseResult& result);

// The circumstances of a run; empty ones are given as unknown.
struct Circumstances {
  std::string commit;
  std::string host;  // processor, number of them, kernel
  std::string fabric;
  std::string domain;  // and what it survives
  std::string policy;
  std::string pinning;
  std::string verified;  // outcome of --verify; "no" when not asked for
};

// One JSON object: circumstances, options, and per phase and operation the
// counts and percentiles, and per phase a time series.
std::string JsonReport(const RunOptions& options,
                       const std::vector<PhaseResult>& phases,
                       const Circumstances& circumstances);

}  // namespace whale::bench::ycsb

#endif  // WHALE_BENCH_YCSB_REPORT_H_
