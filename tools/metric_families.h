// Metrics in the text format of Prometheus, family by family in the order in
// which they were added.
//
// Thread-safety: none; a plain value.
#ifndef WHALE_TOOLS_METRIC_FAMILIES_H_
#define WHALE_TOOLS_METRIC_FAMILIES_H_

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <deque>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace whale::tools {

class MetricFamilies {
 public:
  using Labels = std::vector<prometheus::ClientMetric::Label>;

  // Stays where it is. The name gets the prefix of all of Whale's.
  prometheus::MetricFamily& Family(const std::string& name,
                                   const std::string& help,
                                   prometheus::MetricType type) {
    prometheus::MetricFamily& family = families_.emplace_back();
    family.name = "whale_" + name;
    family.help = help;
    family.type = type;
    return family;
  }
  static void Add(prometheus::MetricFamily& family, double value,
                  Labels labels = {}) {
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    metric.counter.value = value;
    metric.gauge.value = value;
  }
  // A summary without quantiles.
  static void AddSum(prometheus::MetricFamily& family, uint64_t count,
                     double sum, Labels labels = {}) {
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label = std::move(labels);
    metric.summary.sample_count = count;
    metric.summary.sample_sum = sum;
  }
  std::string Text() const {
    std::ostringstream out;
    prometheus::TextSerializer().Serialize(
        out, {families_.begin(), families_.end()});
    return out.str();
  }

 private:
  std::deque<prometheus::MetricFamily> families_;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_METRIC_FAMILIES_H_
