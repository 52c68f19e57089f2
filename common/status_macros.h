// Early return for absl::Status and absl::StatusOr.
#ifndef WHALE_COMMON_STATUS_MACROS_H_
#define WHALE_COMMON_STATUS_MACROS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define WHALE_RETURN_IF_ERROR(expression)          \
  do {                                             \
    absl::Status whale_status_ = (expression);     \
    if (!whale_status_.ok()) return whale_status_; \
  } while (false)

#define WHALE_MACRO_CONCAT_INNER_(a, b) a##b
#define WHALE_MACRO_CONCAT_(a, b) WHALE_MACRO_CONCAT_INNER_(a, b)

// WHALE_ASSIGN_OR_RETURN(auto pool, OpenPool(path));
#define WHALE_ASSIGN_OR_RETURN(declaration, expression)                        \
  auto WHALE_MACRO_CONCAT_(whale_statusor_, __LINE__) = (expression);          \
  if (!WHALE_MACRO_CONCAT_(whale_statusor_, __LINE__).ok()) {                  \
    return std::move(WHALE_MACRO_CONCAT_(whale_statusor_, __LINE__)).status(); \
  }                                                                            \
  declaration = *std::move(WHALE_MACRO_CONCAT_(whale_statusor_, __LINE__))

#endif  // WHALE_COMMON_STATUS_MACROS_H_
