#include "bench/ycsb/result_text.h"

#include <nlohmann/json.hpp>

namespace whale::bench::ycsb {
namespace {

using Json = nlohmann::json;

Json ToJson(const Histogram& histogram) {
  const Histogram::Sparse sparse = histogram.ToSparse();
  return {sparse.buckets, sparse.min, sparse.max, sparse.sum};
}

Histogram HistogramFrom(const Json& json) {
  Histogram::Sparse sparse;
  json.at(0).get_to(sparse.buckets);
  json.at(1).get_to(sparse.min);
  json.at(2).get_to(sparse.max);
  json.at(3).get_to(sparse.sum);
  return Histogram::FromSparse(sparse);
}

Json ToJson(const OperationStats& stats) {
  return {ToJson(stats.latency_ns), stats.ok, stats.not_found, stats.failed,
          stats.wrong_value};
}

OperationStats StatsFrom(const Json& json) {
  OperationStats stats;
  stats.latency_ns = HistogramFrom(json.at(0));
  json.at(1).get_to(stats.ok);
  json.at(2).get_to(stats.not_found);
  json.at(3).get_to(stats.failed);
  json.at(4).get_to(stats.wrong_value);
  return stats;
}

PhaseResult ResultFrom(const Json& json) {
  PhaseResult result;
  result.phase = static_cast<Phase>(json.at("phase").get<int>());
  json.at("elapsed_ns").get_to(result.elapsed_ns);
  json.at("operations").get_to(result.operations);
  json.at("gave_up").get_to(result.gave_up);
  json.at("errors").get_to(result.errors);
  for (int i = 0; i < kOperationKinds; ++i) {
    result.kinds[i] = StatsFrom(json.at("kinds").at(i));
  }
  for (const Json& one : json.at("series")) {
    result.series.push_back(HistogramFrom(one));
  }
  return result;
}

}  // namespace

std::string ResultToText(const PhaseResult& result) {
  Json json = {{"phase", static_cast<int>(result.phase)},
               {"elapsed_ns", result.elapsed_ns},
               {"operations", result.operations},
               {"gave_up", result.gave_up},
               {"errors", result.errors},
               {"kinds", Json::array()},
               {"series", Json::array()}};
  for (const OperationStats& stats : result.kinds) {
    json["kinds"].push_back(ToJson(stats));
  }
  for (const Histogram& one : result.series) {
    json["series"].push_back(ToJson(one));
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<PhaseResult> ResultFromText(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    return ResultFrom(json);
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace whale::bench::ycsb
