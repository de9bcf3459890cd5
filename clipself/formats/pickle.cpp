// The pickle machine: a stack, a memo and one byte an opcode (CPython's pickletools.py describes each).
#include "clipself/formats/pickle.h"

#include <fmt/format.h>

#include <charconv>
#include <unordered_map>

#include "clipself/formats/bytes.h"
#include "clipself/formats/pickle_calls.h"
#include "clipself/formats/pickle_heap.h"

namespace clipself::formats {
namespace {

using pickle::Heap;
using pickle::Id;
using pickle::Mapping;
using pickle::Sequence;

enum Opcode : unsigned char {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kInt = 'I',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kLong = 'L',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersistent = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kEmptyDict = '}',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kEmptyList = ']',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kEmptyTuple = ')',
  kSetItems = 'u',
  kBinFloat = 'G',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObject = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

class Machine {
 public:
  Machine(std::span<const std::byte> program, const PickleSource& source) : program_(program), heap_(source) {}

  Unpickled run() {
    while (true) {
      const auto opcode = read<unsigned char>();
      if (opcode == kStop) break;
      step(opcode);
    }
    const Id result = pop();
    return {heap_.to_value(result), at_};
  }

 private:
  void step(unsigned char opcode) {
    switch (opcode) {
      case kProto: {
        const int protocol = read<unsigned char>();
        if (protocol > 5) heap_.fail(fmt::format("pickle protocol {}", protocol), "at most 5");
        return;
      }
      case kFrame:
        return skip_frame();

      case kNone:
        return push(std::monostate{});
      case kNewTrue:
        return push(true);
      case kNewFalse:
        return push(false);
      case kBinInt:
        return push(std::int64_t{read<std::int32_t>()});
      case kBinInt1:
        return push(std::int64_t{read<std::uint8_t>()});
      case kBinInt2:
        return push(std::int64_t{read<std::uint16_t>()});
      case kLong1:
        return push_long(read<std::uint8_t>());
      case kLong4:
        return push_long(read<std::uint32_t>());
      case kInt:
      case kLong:
        return push_decimal();
      case kBinFloat:
        return push(std::bit_cast<double>(__builtin_bswap64(read<std::uint64_t>())));

      case kShortBinString:
      case kShortBinUnicode:
        return push(pickle::Text{take(read<std::uint8_t>())});
      case kBinString:
      case kBinUnicode:
        return push(pickle::Text{take(read<std::uint32_t>())});
      case kBinUnicode8:
        return push(pickle::Text{take(read<std::uint64_t>())});
      case kShortBinBytes:
        return push(pickle::Bytes{take(read<std::uint8_t>())});
      case kBinBytes:
        return push(pickle::Bytes{take(read<std::uint32_t>())});
      case kBinBytes8:
      case kByteArray8:
        return push(pickle::Bytes{take(read<std::uint64_t>())});

      case kEmptyList:
      case kEmptySet:
        return push(Sequence{});
      case kEmptyTuple:
        return push(Sequence{{}, true});
      case kEmptyDict:
        return push(Mapping{});
      case kTuple1:
        return push_tuple(1);
      case kTuple2:
        return push_tuple(2);
      case kTuple3:
        return push_tuple(3);
      case kTuple:
        return push(Sequence{pop_to_mark(), true});
      case kList:
      case kFrozenSet:
        return push(Sequence{pop_to_mark(), false});
      case kDict: {
        Mapping dict;
        insert(dict, pop_to_mark());
        return push(std::move(dict));
      }
      case kAppend: {
        const Id item = pop();
        return append(top_list(), {item});
      }
      case kAppends:
      case kAddItems: {
        const std::vector<Id> items = pop_to_mark();
        return append(top_list(), items);
      }
      case kSetItem: {
        const Id value = pop();
        const Id key = pop();
        return insert(top_dict(), {key, value});
      }
      case kSetItems: {
        const std::vector<Id> items = pop_to_mark();
        return insert(top_dict(), items);
      }

      case kMark:
        marks_.push_back(stack_.size());
        return;
      case kPop:
        // Python lets POP remove a mark as well.
        if (!marks_.empty() && marks_.back() == stack_.size()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return;
      case kPopMark:
        pop_to_mark();
        return;
      case kDup:
        stack_.push_back(top());
        return;
      case kBinPut:
        remember(read<std::uint8_t>());
        return;
      case kLongBinPut:
        remember(read<std::uint32_t>());
        return;
      case kMemoize:
        remember(static_cast<std::uint32_t>(memo_.size()));
        return;
      case kBinGet:
        return recall(read<std::uint8_t>());
      case kLongBinGet:
        return recall(read<std::uint32_t>());

      case kGlobal: {
        const std::string_view module = line();
        return push(pickle::find_global(heap_, module, line()));
      }
      case kStackGlobal: {
        const Id name = pop();
        const Id module = pop();
        return push(
            pickle::find_global(heap_, heap_.text(module, "a module's name"), heap_.text(name, "a global's name")));
      }
      case kReduce:
      case kNewObject: {
        const Id arguments = pop();
        const Id callable = pop();
        stack_.push_back(pickle::call(heap_, callable, arguments));
        return;
      }
      case kBuild: {
        const Id state = pop();
        return pickle::build(heap_, top(), state);
      }
      case kBinPersistent:
        stack_.push_back(pickle::load_persistent(heap_, pop()));
        return;
      default:
        heap_.fail(fmt::format("pickle opcode 0x{:02x} at byte {}", static_cast<int>(opcode), at_ - 1),
                   "one that torch.save writes", "was the file damaged on its way?");
    }
  }

  [[noreturn]] void cut_off() { heap_.fail("a pickle that ends too soon", {}, "was the file cut off?"); }

  template <typename T>
  T read() {
    if (program_.size() - at_ < sizeof(T)) cut_off();
    const T value = load<T>(program_, at_);
    at_ += sizeof(T);
    return value;
  }

  std::string_view take(std::uint64_t size) {
    if (program_.size() - at_ < size) cut_off();
    const std::string_view text(reinterpret_cast<const char*>(program_.data()) + at_, size);
    at_ += size;
    return text;
  }

  std::string_view line() {
    constexpr std::size_t kMaxLine = 1024;
    const std::size_t limit = std::min(program_.size() - at_, kMaxLine);
    const std::string_view rest(reinterpret_cast<const char*>(program_.data()) + at_, limit);
    const std::size_t end = rest.find('\n');
    if (end == rest.npos) {
      if (limit == kMaxLine) heap_.fail("a pickle with an endless line", {}, "was the file damaged on its way?");
      cut_off();
    }
    at_ += end + 1;
    return rest.substr(0, end);
  }

  void skip_frame() {
    // A frame only tells a reader how much to fetch at once.
    if (read<std::uint64_t>() > program_.size() - at_) cut_off();
  }

  void push(pickle::Node node) { stack_.push_back(heap_.add(std::move(node))); }

  void push_long(std::uint32_t size) {
    const std::string_view bytes = take(size);
    if (size > 8) heap_.fail(fmt::format("an integer of {} bytes", size), "at most 8");
    // Little-endian two's complement of as many bytes as it takes; the last one's high bit is the sign.
    std::uint64_t value = size > 0 && static_cast<signed char>(bytes.back()) < 0 ? ~std::uint64_t{0} : 0;
    std::memcpy(&value, bytes.data(), size);
    push(static_cast<std::int64_t>(value));
  }

  // Python 2 writes integers above 32 bits in decimal, with or without an L.
  void push_decimal() {
    std::string_view text = line();
    if (text.ends_with('L')) text.remove_suffix(1);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      heap_.fail("the number '" + std::string(text.substr(0, 80)) + "'", "an integer of 64 bits");
    }
    push(value);
  }

  void push_tuple(std::size_t size) {
    Sequence tuple{std::vector<Id>(size), true};
    for (std::size_t i = size; i-- > 0;) tuple.items[i] = pop();
    push(std::move(tuple));
  }

  Id top() {
    if (stack_.size() <= floor()) heap_.fail("a pickle that takes from an empty stack");
    return stack_.back();
  }

  Id pop() {
    const Id id = top();
    stack_.pop_back();
    return id;
  }

  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  std::vector<Id> pop_to_mark() {
    if (marks_.empty()) heap_.fail("a pickle that closes what it never opened");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Id> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }

  Sequence& top_list() {
    const Id id = top();
    auto* list = std::get_if<Sequence>(&heap_[id]);
    if (list == nullptr || list->tuple) heap_.fail("items appended to " + heap_.describe(id), "a list or set");
    return *list;
  }

  Mapping& top_dict() {
    const Id id = top();
    auto* dict = std::get_if<Mapping>(&heap_[id]);
    if (dict == nullptr) heap_.fail("entries set in " + heap_.describe(id), "a dict");
    return *dict;
  }

  static void append(Sequence& list, const std::vector<Id>& items) {
    list.items.insert(list.items.end(), items.begin(), items.end());
  }

  void insert(Mapping& dict, const std::vector<Id>& items) {
    if (items.size() % 2 != 0) heap_.fail("a dict's key without a value");
    dict.items.insert(dict.items.end(), items.begin(), items.end());
  }

  void remember(std::uint32_t index) {
    constexpr std::size_t kEntryBytes = 48;
    if (memo_.insert_or_assign(index, top()).second) heap_.charge(kEntryBytes);
  }

  void recall(std::uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) heap_.fail(fmt::format("a pickle that refers to its entry {}", index), "an earlier one");
    stack_.push_back(found->second);
  }

  std::span<const std::byte> program_;
  std::size_t at_ = 0;
  Heap heap_;
  std::vector<Id> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, Id> memo_;
};

}  // namespace

Unpickled unpickle(std::span<const std::byte> program, const PickleSource& source) {
  return Machine(program, source).run();
}

}  // namespace clipself::formats
