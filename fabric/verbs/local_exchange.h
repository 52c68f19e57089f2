// An Exchange between fabrics of one process, for tests and benchmarks.
//
// Thread-safety: ends on different threads may talk to each other.
#ifndef WHALE_FABRIC_VERBS_LOCAL_EXCHANGE_H_
#define WHALE_FABRIC_VERBS_LOCAL_EXCHANGE_H_

#include <memory>
#include <string>

#include "fabric/verbs/exchange.h"

namespace whale::fabric {

// Where the ends of one process find each other, by name.
class LocalExchangeHub {
 public:
  LocalExchangeHub();
  ~LocalExchangeHub();

  // `name` must be free. The end outlives neither the hub nor its own fabric.
  std::unique_ptr<Exchange> Listen(const std::string& name);

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace whale::fabric

#endif  // WHALE_FABRIC_VERBS_LOCAL_EXCHANGE_H_
