// "Did you mean ...?"
#ifndef WHALE_TOOLS_NEAREST_H_
#define WHALE_TOOLS_NEAREST_H_

#include <set>
#include <string>
#include <string_view>

namespace whale::tools {

// Insertions, deletions and replacements that turn one into the other.
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate with the least distance; empty when there are none.
std::string Nearest(std::string_view word,
                    const std::set<std::string>& candidates);

}  // namespace whale::tools

#endif  // WHALE_TOOLS_NEAREST_H_
