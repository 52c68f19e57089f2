#include "common/check.h"

#include <cstdio>
#include <cstdlib>

namespace whale {

void CheckFailed(const char* file, int line, const char* expression,
                 const char* message) {
  std::fprintf(stderr, "%s:%d: check failed: %s%s%s%s\n", file, line,
               expression, message != nullptr ? " (" : "",
               message != nullptr ? message : "",
               message != nullptr ? ")" : "");
  std::abort();
}

}  // namespace whale
