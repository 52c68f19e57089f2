// WHALE_CHECK: a broken invariant is a bug of ours, and stops the process in
// release builds too. Anything a peer, a client, a file or an operator can
// cause is not a bug and must be a value or a Status instead.
#ifndef WHALE_COMMON_CHECK_H_
#define WHALE_COMMON_CHECK_H_

namespace whale {

// Prints `file:line: check failed: expression (message)` and aborts.
[[noreturn]] void CheckFailed(const char* file, int line,
                              const char* expression,
                              const char* message = nullptr);

}  // namespace whale

#define WHALE_CHECK(condition)                       \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::whale::CheckFailed(__FILE__, __LINE__, #condition))

// `message`: a string literal that says what the reader should know.
#define WHALE_CHECK_MSG(condition, message)          \
  (__builtin_expect(static_cast<bool>(condition), 1) \
       ? static_cast<void>(0)                        \
       : ::whale::CheckFailed(__FILE__, __LINE__, #condition, message))

#ifdef NDEBUG
#define WHALE_DCHECK(condition) static_cast<void>(0)
#else
#define WHALE_DCHECK(condition) WHALE_CHECK(condition)
#endif

#endif  // WHALE_COMMON_CHECK_H_
