#include "sim/checkers/linearizability.h"

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/prng.h"

namespace whale::checkers {
namespace {

using Source = const Operation*;

// What the key holds at some point of the linearization.
struct State {
  bool present = false;
  int writer = -1;       // step that wrote it; -1: none, or an unread write
  uint64_t version = 0;  // 0: unknown
  uint64_t floor = 0;    // largest known version so far
};

// One operation, as the search sees it.
struct Step {
  Source source;
  bool is_write = false;         // changes the key when placed
  bool optional = false;         // may stay out for ever
  int read_writer = -1;          // gets with a value: the step that wrote it
  uint64_t version = 0;          // of writes: known, or 0
  uint64_t mark[2] = {};         // random; a configuration's hash is their sum
  int previous = -1, next = -1;  // list of what is still to be placed
};

// Writes that are interchangeable: unknown, unread, with the same effect and
// condition. Only the first one that is left needs to be tried.
struct OptionalClass {
  std::vector<int> steps;  // by invocation
  size_t used = 0;
};

struct Mark {
  uint64_t a = 0, b = 0;
  bool operator==(const Mark&) const = default;
};
struct MarkHash {
  size_t operator()(const Mark& mark) const { return mark.a; }
};

class KeySearch {
 public:
  explicit KeySearch(const std::vector<Source>& operations)
      : operations_(operations) {}

  Verdict Run();

 private:
  struct Choice {
    int step;
    int optional_class;  // -1: a definite write
  };
  struct Frame {
    size_t placed;  // size of placed_ before the choice that led here
    State state;    // before it
    Mark mark;
    int optional_class;  // of that choice
    bool versioned;      // that choice took the next known version
    std::vector<Choice> choices;
    size_t next = 0;
  };

  bool Prepare();
  bool PrepareReads();
  void AddSteps();
  void AddWrite(int operation);
  bool Fails(const std::string& problem) {
    verdict_.problem = problem;
    return false;
  }

  // Nothing left may be placed after this time.
  int64_t Bound() const;
  bool MatchesVersion(const State& state, uint64_t version) const;
  bool Observes(const State& state, const Step& step) const;
  bool MayApply(const State& state, const Step& step) const;
  State Apply(const State& state, int number) const;
  void Place(int number);
  void Restore(size_t placed);
  void PlaceObservations();
  std::vector<Choice> Choices() const;
  bool Advance(Choice choice);
  void Undo();
  std::string Describe() const;

  const std::vector<Source>& operations_;
  Verdict verdict_;
  std::vector<Step> steps_;
  std::unordered_map<std::string, int> writer_of_;  // value -> operation
  std::map<int, uint64_t> read_version_;            // operation -> version
  std::unordered_set<int> read_;          // operations whose value was
  std::unordered_map<int, int> step_of_;  // operation -> step
  std::unordered_set<uint64_t> known_versions_;
  std::vector<int> versioned_;  // definite writes with a version, by it
  size_t next_versioned_ = 0;
  std::vector<int> unversioned_;  // definite writes without
  std::vector<OptionalClass> optional_;
  int head_ = -1;
  size_t left_ = 0;  // definite steps not yet placed

  State state_;
  Mark mark_;
  std::vector<int> placed_;
  std::vector<bool> is_placed_;
  std::vector<Frame> frames_;
  std::unordered_set<Mark, MarkHash> visited_;
  size_t best_ = SIZE_MAX;  // fewest steps left at a dead end, and the end
  std::string best_text_;
};

// Finds who wrote each value that was read, and with which version.
bool KeySearch::PrepareReads() {
  for (int i = 0; i < static_cast<int>(operations_.size()); ++i) {
    const Operation& o = *operations_[i];
    if (o.type != OperationType::kPut &&
        o.type != OperationType::kCompareAndPut) {
      continue;
    }
    if (!writer_of_.emplace(o.value, i).second) {
      return Fails(
          absl::StrCat("value written twice by the driver: ", ToString(o)));
    }
  }
  for (Source o : operations_) {
    if (o->type != OperationType::kGet || o->answer != Answer::kOk) continue;
    auto it = writer_of_.find(o->value);
    if (it == writer_of_.end()) {
      return Fails(
          absl::StrCat("read a value that nobody wrote: ", ToString(*o)));
    }
    const Operation& writer = *operations_[it->second];
    if (writer.answer != Answer::kOk && writer.answer != Answer::kUnknown) {
      return Fails(absl::StrCat("read the value of a write without effect: ",
                                ToString(*o), "; ", ToString(writer)));
    }
    read_.insert(it->second);
    if (o->version == 0) continue;
    const uint64_t other =
        writer.version != 0
            ? writer.version
            : read_version_.emplace(it->second, o->version).first->second;
    if (other != o->version) {
      return Fails(absl::StrCat("one value with two versions: ", ToString(*o),
                                "; the other is ", other, " of ",
                                ToString(writer)));
    }
  }
  return true;
}

void KeySearch::AddWrite(int operation) {
  Source source = operations_[operation];
  const int number = steps_.size();
  Step& step = steps_.emplace_back();
  step.source = source;
  step.is_write = true;
  step.version = source->answer == Answer::kOk ? source->version : 0;
  if (auto it = read_version_.find(operation); it != read_version_.end()) {
    step.version = it->second;
  }
  step.optional =
      source->answer == Answer::kUnknown && !read_.contains(operation);
  step_of_[operation] = number;
  if (step.version != 0) known_versions_.insert(step.version);
}

void KeySearch::AddSteps() {
  for (int i = 0; i < static_cast<int>(operations_.size()); ++i) {
    Source o = operations_[i];
    const bool no_effect =
        o->answer == Answer::kNotFound || o->answer == Answer::kCompareFailed;
    if (o->type != OperationType::kGet && !no_effect &&
        o->answer != Answer::kRefused && o->answer != Answer::kLost) {
      AddWrite(i);
      continue;
    }
    const bool told = no_effect || (o->type == OperationType::kGet &&
                                    o->answer == Answer::kOk);
    if (told && !o->weak) steps_.emplace_back().source = o;
  }
}

bool KeySearch::Prepare() {
  if (!PrepareReads()) return false;
  steps_.reserve(operations_.size());
  AddSteps();
  Prng random(operations_.size());
  std::map<std::pair<OperationType, uint64_t>, OptionalClass> classes;
  int last = -1;
  for (int i = 0; i < static_cast<int>(steps_.size()); ++i) {
    Step& step = steps_[i];
    step.mark[0] = random.Next();
    step.mark[1] = random.Next();
    if (step.source->type == OperationType::kGet &&
        step.source->answer == Answer::kOk) {
      step.read_writer = step_of_.at(writer_of_.at(step.source->value));
    }
    if (step.optional) {
      const OperationType type = step.source->type;
      const bool conditional = type == OperationType::kCompareAndPut ||
                               type == OperationType::kDeleteIf;
      classes[{type, conditional ? step.source->expected_version : 0}]
          .steps.push_back(i);
      continue;
    }
    if (step.is_write) {
      (step.version != 0 ? versioned_ : unversioned_).push_back(i);
    }
    step.previous = last;
    (last < 0 ? head_ : steps_[last].next) = i;
    last = i;
    ++left_;
  }
  for (auto& [key, optional] : classes)
    optional_.push_back(std::move(optional));
  std::stable_sort(versioned_.begin(), versioned_.end(), [&](int a, int b) {
    return steps_[a].version < steps_[b].version;
  });
  for (size_t i = 1; i < versioned_.size(); ++i) {
    if (steps_[versioned_[i - 1]].version == steps_[versioned_[i]].version) {
      return Fails(absl::StrCat("two writes with one version: ",
                                ToString(*steps_[versioned_[i - 1]].source),
                                "; ", ToString(*steps_[versioned_[i]].source)));
    }
  }
  is_placed_.resize(steps_.size());
  return true;
}

int64_t KeySearch::Bound() const {
  int64_t bound = kNever;
  for (int i = head_; i >= 0 && steps_[i].source->invoked <= bound;
       i = steps_[i].next) {
    bound = std::min(bound, steps_[i].source->answered);
  }
  return bound;
}

// Whether the key may have this version, which somebody was told.
bool KeySearch::MatchesVersion(const State& state, uint64_t version) const {
  if (!state.present) return version == 0;
  if (state.version != 0) return version == state.version;
  return version > state.floor && !known_versions_.contains(version);
}

bool KeySearch::Observes(const State& state, const Step& step) const {
  const Operation& o = *step.source;
  if (o.answer == Answer::kNotFound) return !state.present;
  if (o.answer == Answer::kCompareFailed) {
    return o.version != o.expected_version && MatchesVersion(state, o.version);
  }
  return state.present && state.writer == step.read_writer;
}

bool KeySearch::MayApply(const State& state, const Step& step) const {
  const Operation& o = *step.source;
  switch (o.type) {
    case OperationType::kDelete:
      return state.present;
    case OperationType::kCompareAndPut:
    case OperationType::kDeleteIf:
      return MatchesVersion(state, o.expected_version);
    default:
      return true;
  }
}

State KeySearch::Apply(const State& state, int number) const {
  const Step& step = steps_[number];
  State result = state;
  result.present = step.source->type == OperationType::kPut ||
                   step.source->type == OperationType::kCompareAndPut;
  result.writer = result.present && !step.optional ? number : -1;
  result.version = result.present ? step.version : 0;
  result.floor = std::max(state.floor, step.version);
  return result;
}

void KeySearch::Place(int number) {
  Step& step = steps_[number];
  placed_.push_back(number);
  is_placed_[number] = true;
  mark_.a += step.mark[0];
  mark_.b += step.mark[1];
  if (step.optional) return;
  (step.previous < 0 ? head_ : steps_[step.previous].next) = step.next;
  if (step.next >= 0) steps_[step.next].previous = step.previous;
  --left_;
}

// Takes back what was placed beyond `placed`; marks are restored by the frame.
void KeySearch::Restore(size_t placed) {
  while (placed_.size() > placed) {
    const int number = placed_.back();
    Step& step = steps_[number];
    placed_.pop_back();
    is_placed_[number] = false;
    if (step.optional) continue;
    (step.previous < 0 ? head_ : steps_[step.previous].next) = number;
    if (step.next >= 0) steps_[step.next].previous = number;
    ++left_;
  }
}

void KeySearch::PlaceObservations() {
  for (bool again = true; again;) {
    again = false;
    int64_t bound = Bound();
    for (int i = head_; i >= 0 && steps_[i].source->invoked <= bound;) {
      const int next = steps_[i].next;
      if (!steps_[i].is_write && Observes(state_, steps_[i])) {
        const bool was_bound = steps_[i].source->answered == bound;
        Place(i);
        if (was_bound) {
          again = true;
          break;
        }
      }
      i = next;
    }
  }
}

std::vector<KeySearch::Choice> KeySearch::Choices() const {
  std::vector<Choice> choices;
  const int64_t bound = Bound();
  auto fits = [&](int i) {
    return steps_[i].source->invoked <= bound && MayApply(state_, steps_[i]);
  };
  if (next_versioned_ < versioned_.size()) {
    const int i = versioned_[next_versioned_];
    if (steps_[i].version > state_.floor && fits(i)) choices.push_back({i, -1});
  }
  for (int i : unversioned_) {
    if (!is_placed_[i] && fits(i)) choices.push_back({i, -1});
  }
  for (size_t c = 0; c < optional_.size(); ++c) {
    const OptionalClass& optional = optional_[c];
    if (optional.used == optional.steps.size()) continue;
    const int i = optional.steps[optional.used];
    // An unread put over an unread put changes nothing.
    const bool useless = steps_[i].source->type == OperationType::kPut &&
                         state_.present && state_.writer < 0;
    if (!useless && fits(i)) choices.push_back({i, static_cast<int>(c)});
  }
  return choices;
}

// Places the choice and all it makes fit. False if that was visited before.
bool KeySearch::Advance(Choice choice) {
  Frame frame{placed_.size(), state_, mark_, choice.optional_class, false, {}};
  if (choice.optional_class >= 0) {
    ++optional_[choice.optional_class].used;
  } else if (steps_[choice.step].version != 0) {
    frame.versioned = true;
    ++next_versioned_;
  }
  state_ = Apply(state_, choice.step);
  Place(choice.step);
  PlaceObservations();
  // The state follows from the set and the last writer.
  Mark key = mark_;
  key.a += (state_.writer + 2) * 0x9e3779b97f4a7c15u + state_.present;
  key.b ^= (state_.writer + 2) * 0xbf58476d1ce4e5b9u + state_.version;
  frames_.push_back(std::move(frame));
  if (!visited_.insert(key).second) {
    Undo();
    return false;
  }
  frames_.back().choices = Choices();
  return true;
}

void KeySearch::Undo() {
  Frame& frame = frames_.back();
  Restore(frame.placed);
  state_ = frame.state;
  mark_ = frame.mark;
  if (frame.optional_class >= 0) --optional_[frame.optional_class].used;
  if (frame.versioned) --next_versioned_;
  frames_.pop_back();
}

std::string KeySearch::Describe() const {
  std::string text;
  if (!state_.present) {
    text = "the key is absent";
  } else if (state_.writer >= 0) {
    text =
        absl::StrCat("the key holds ", ToString(*steps_[state_.writer].source));
  } else {
    text = "the key holds a write with unknown outcome";
  }
  absl::StrAppend(&text, "; one of these should fit, none does:");
  const int64_t bound = Bound();
  int shown = 0;
  for (int i = head_;
       i >= 0 && steps_[i].source->invoked <= bound && shown < 40;
       i = steps_[i].next, ++shown) {
    absl::StrAppend(&text, "\n    ", ToString(*steps_[i].source));
  }
  return text;
}

Verdict KeySearch::Run() {
  if (!Prepare()) return verdict_;
  PlaceObservations();
  frames_.push_back({0, state_, mark_, -1, false, Choices()});
  while (left_ > 0) {
    if (visited_.size() > kMaxConfigurations) {
      Fails(absl::StrCat("gave up after ", visited_.size(),
                         " configurations; so far ", best_text_));
      return verdict_;
    }
    Frame& frame = frames_.back();
    if (frame.next < frame.choices.size()) {
      Advance(frame.choices[frame.next++]);
      continue;
    }
    if (left_ < best_) {
      best_ = left_;
      best_text_ = Describe();
    }
    if (frames_.size() == 1) {
      Fails(absl::StrCat("not linearizable: ", best_text_));
      return verdict_;
    }
    Undo();
  }
  return verdict_;
}

}  // namespace

Verdict CheckLinearizabilityOfKey(
    const std::vector<const Operation*>& operations) {
  return KeySearch(operations).Run();
}

Verdict CheckLinearizability(const History& history) {
  for (const auto& [key, operations] : history.ByKey()) {
    Verdict verdict = CheckLinearizabilityOfKey(operations);
    if (!verdict.ok()) {
      verdict.problem = absl::StrCat("key ", key, ": ", verdict.problem);
      return verdict;
    }
  }
  return {};
}

}  // namespace whale::checkers
