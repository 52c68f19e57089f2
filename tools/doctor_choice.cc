// whale doctor: which port and address the fabric `verbs` would take, and why.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "fabric/verbs/verbs_fabric.h"
#include "tools/doctor_checks.h"

namespace whale::tools {
namespace {

using fabric::verbs::Gid;
using fabric::verbs::GidText;
using fabric::verbs::GidType;
using fabric::verbs::IsIpv4;
using fabric::verbs::IsLinkLocal;
using fabric::verbs::IsLoopback;
using fabric::verbs::Port;
using fabric::verbs::PortChoice;

std::string KindOf(const Port& port, const Gid& gid) {
  if (!port.ethernet) return "InfiniBand";
  if (IsLoopback(gid.raw)) return "loopback";
  if (IsLinkLocal(gid.raw)) return "link-local, reaches this link only";
  return IsIpv4(gid.raw) ? "IPv4" : "global IPv6, which comes after IPv4";
}

std::string WhyNot(const Port& port, const Gid& gid, const PortChoice* choice) {
  if (!port.active) return "the port is down";
  if (port.ethernet && gid.type == GidType::kRoceV1) {
    return "RoCE v1 cannot be routed";
  }
  const std::string kind = KindOf(port, gid);
  if (choice == nullptr) return kind;
  const bool same = kind == KindOf(choice->port, choice->gid);
  return absl::StrCat(kind, same ? "; another of that kind was first" : "");
}

bool IsChosen(const Port& port, const Gid& gid, const PortChoice* choice) {
  return choice != nullptr && choice->port.device == port.device &&
         choice->port.number == port.number && choice->gid.index == gid.index;
}

}  // namespace

void AddChoice(const std::vector<Port>& ports,
               const fabric::VerbsOptions& options, bool required,
               Findings* findings) {
  const auto chosen = fabric::verbs::ChoosePort(ports, options);
  const PortChoice* choice = chosen.ok() ? &*chosen : nullptr;
  const bool told =
      !options.device.empty() || options.port != 0 || options.gid_index >= 0;
  for (const Port& port : ports) {
    for (const Gid& gid : port.gids) {
      const std::string what =
          absl::StrCat(port.device, " port ", port.number, " GID ", gid.index);
      const auto at =
          std::find_if(findings->begin(), findings->end(),
                       [&](const Finding& f) { return f.what == what; });
      if (at == findings->end()) continue;
      absl::StrAppend(
          &at->text, "; ", GidText(gid.raw),
          IsChosen(port, gid, choice)
              ? absl::StrCat(" is taken: ", told ? "as told, " : "",
                             KindOf(port, gid))
              : absl::StrCat(" is not: ", WhyNot(port, gid, choice)));
    }
  }
  if (choice != nullptr) {
    findings->push_back(
        {"fabric verbs", Verdict::kOk,
         "would take " + DescribeChoice(*choice, choice->port.mtu_bytes), ""});
  } else {
    findings->push_back({"fabric verbs",
                         required ? Verdict::kProblem : Verdict::kNote,
                         std::string(chosen.status().message()), ""});
  }
}

void CheckChoice(const DoctorFlags& flags, Findings* findings) {
  const auto options = fabric::ParseVerbsOptions(flags.verbs);
  const auto ports = fabric::verbs::ListPorts();
  const bool required = flags.fabric == "verbs" || !flags.verbs.empty();
  if (options.ok() && ports.ok()) {
    AddChoice(*ports, *options, required, findings);
    return;
  }
  const absl::Status& failed = options.ok() ? ports.status() : options.status();
  findings->push_back({"fabric verbs",
                       required ? Verdict::kProblem : Verdict::kNote,
                       std::string(failed.message()), ""});
}

}  // namespace whale::tools
