#include "tools/http_endpoint.h"

#include <civetweb.h>

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "tools/net.h"

namespace whale::tools {
namespace {

const char* Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    default:
      return "Service Unavailable";
  }
}

void Answer(mg_connection* connection, const HttpResponse& response) {
  mg_printf(connection,
            "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
            "Connection: close\r\n\r\n",
            response.status, Reason(response.status),
            response.content_type.c_str(), response.body.size());
  mg_write(connection, response.body.data(), response.body.size());
}

// What civetweb has to say goes to the status of Start only.
int OnMessage(const mg_connection*, const char*) { return 1; }

}  // namespace

int HttpEndpoint::OnRequest(mg_connection* connection, void* endpoint) {
  const auto& handlers = static_cast<HttpEndpoint*>(endpoint)->handlers_;
  const mg_request_info* request = mg_get_request_info(connection);
  const auto handler = handlers.find(request->local_uri);
  HttpResponse response;
  if (handler == handlers.end()) {
    response = {.status = 404, .body = "no such page; there are:\n"};
    for (const auto& [path, unused] : handlers) {
      absl::StrAppend(&response.body, path, "\n");
    }
  } else if (std::strcmp(request->request_method, "GET") != 0) {
    response = {.status = 405, .body = "only GET\n"};
  } else {
    response = handler->second();
  }
  Answer(connection, response);
  return response.status;
}

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Start(
    const std::string& host, uint16_t port,
    std::map<std::string, HttpHandler> handlers) {
  WHALE_RETURN_IF_ERROR(CheckPortIsFree(host, port));
  auto endpoint =
      std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(handlers)));
  const bool v6 = host.find(':') != std::string_view::npos;
  const std::string address =
      absl::StrCat(v6 ? "[" : "", host, v6 ? "]" : "", ":", port);
  const char* options[] = {
      "listening_ports",    address.c_str(), "num_threads", "2",
      "request_timeout_ms", "5000",          nullptr};
  mg_callbacks callbacks{};
  callbacks.log_message = OnMessage;
  endpoint->context_ = mg_start(&callbacks, endpoint.get(), options);
  if (endpoint->context_ == nullptr) {
    return absl::UnavailableError(
        absl::StrCat("cannot serve HTTP on ", address));
  }
  mg_set_request_handler(endpoint->context_, "/", &OnRequest, endpoint.get());
  return endpoint;
}

HttpEndpoint::~HttpEndpoint() {
  if (context_ != nullptr) mg_stop(context_);
}

}  // namespace whale::tools
