// A small HTTP server for metrics and health, by civetweb.
//
// Answers GET only; everything else that arrives is civetweb's to refuse.
//
// Thread-safety: handlers run on civetweb's threads, several at a time.
#ifndef WHALE_TOOLS_HTTP_ENDPOINT_H_
#define WHALE_TOOLS_HTTP_ENDPOINT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

struct mg_connection;
struct mg_context;

namespace whale::tools {

struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
};
using HttpHandler = std::function<HttpResponse()>;

class HttpEndpoint {
 public:
  // Serves each path by its handler. Errors: kFailedPrecondition (the port is
  // in use), kUnavailable (what civetweb says).
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Start(
      const std::string& host, uint16_t port,
      std::map<std::string, HttpHandler> handlers);
  // Waits for handlers under way.
  ~HttpEndpoint();

 private:
  explicit HttpEndpoint(std::map<std::string, HttpHandler> handlers)
      : handlers_(std::move(handlers)) {}
  // civetweb's callbacks.
  static int OnRequest(mg_connection* connection, void* endpoint);

  const std::map<std::string, HttpHandler> handlers_;
  mg_context* context_ = nullptr;
};

}  // namespace whale::tools

#endif  // WHALE_TOOLS_HTTP_ENDPOINT_H_
