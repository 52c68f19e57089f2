// What put, get, delete and cas share: reading a value, printing an answer.
#ifndef WHALE_TOOLS_OPERATION_H_
#define WHALE_TOOLS_OPERATION_H_

#include <string>

#include "absl/status/statusor.h"
#include "whale/client.h"

namespace whale::tools {

// `argument`, or standard input for "-". Errors: kInvalidArgument (larger than
// any value may be).
absl::StatusOr<std::string> ValueOf(const std::string& argument);

// Prints what a write got, or what went wrong; returns the exit code.
int PrintWrite(const std::string& key,
               const absl::StatusOr<WriteResult>& result, bool json);
int PrintRead(const std::string& key, const absl::StatusOr<ReadResult>& result,
              bool json);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_OPERATION_H_
