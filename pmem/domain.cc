#include "pmem/domain.h"

namespace whale::pmem {

std::string_view SurvivesName(Survives survives) {
  switch (survives) {
    case Survives::kProcess:
      return "process";
    case Survives::kOs:
      return "os";
    case Survives::kPower:
      return "power";
  }
  return "unknown";
}

}  // namespace whale::pmem
