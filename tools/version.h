// What this program was built from.
#ifndef WHALE_TOOLS_VERSION_H_
#define WHALE_TOOLS_VERSION_H_

#include <string>

namespace whale::tools {

// "whale 0.1.0 (protocol 2, format 3, commit 0123abc)".
std::string VersionText();
// "0.1.0 (commit 0123abc)".
std::string Version();
// The commit, with "-dirty" when the tree had changes; "unknown" outside git.
std::string Commit();

}  // namespace whale::tools

#endif  // WHALE_TOOLS_VERSION_H_
