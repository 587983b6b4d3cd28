#include "outliers/io/unpickler.h"

#include <algorithm>

namespace outliers::io::pickle {
namespace {

constexpr Known kKnown[] = {
    {"collections.OrderedDict", Name::ordered_dict},
    {"torch.Size", Name::size},
    {"torch._utils._rebuild_tensor", Name::tensor},
    {"torch._utils._rebuild_tensor_v2", Name::tensor_v2},
    {"torch._utils._rebuild_tensor_v3", Name::tensor_v3},
    {"torch._utils._rebuild_parameter", Name::parameter},
    {"torch._utils._rebuild_parameter_with_state", Name::parameter},
    {"torch.DoubleStorage", Name::storage_type, "F64"},
    {"torch.FloatStorage", Name::storage_type, "F32"},
    {"torch.HalfStorage", Name::storage_type, "F16"},
    {"torch.BFloat16Storage", Name::storage_type, "BF16"},
    {"torch.LongStorage", Name::storage_type, "I64"},
    {"torch.IntStorage", Name::storage_type, "I32"},
    {"torch.ShortStorage", Name::storage_type, "I16"},
    {"torch.CharStorage", Name::storage_type, "I8"},
    {"torch.ByteStorage", Name::storage_type, "U8"},
    {"torch.BoolStorage", Name::storage_type, "BOOL"},
    {"torch.UntypedStorage", Name::storage_type},
    {"torch.storage.UntypedStorage", Name::storage_type},
    {"torch.float8_e4m3fn", Name::dtype, "F8_E4M3"},
    {"torch.float8_e5m2", Name::dtype, "F8_E5M2"},
    {"torch.uint16", Name::dtype, "U16"},
    {"torch.uint32", Name::dtype, "U32"},
    {"torch.uint64", Name::dtype, "U64"},
};

}  // namespace

void Unpickler::push_long(uint64_t length) {
  const std::string_view raw = read_text(length);
  Object object{.kind = Kind::integer, .text = raw};
  if (raw.size() <= 8) {
    uint64_t value = !raw.empty() && (raw.back() & 0x80) != 0 ? ~uint64_t{0} : 0;
    std::memcpy(&value, raw.data(), raw.size());
    object.integer = static_cast<int64_t>(value);
    object.text = {};
  }
  push(std::move(object));
}

void Unpickler::push_name(std::string_view module, std::string_view name) {
  const std::string full = fmt::format("{}.{}", module, name);
  const auto* known =
      std::find_if(std::begin(kKnown), std::end(kKnown), [&](const Known& k) { return k.name == full; });
  require(known != std::end(kKnown),
          "{}: the pickle names {}, which is no part of a tensor that can be read here; nothing of it was "
          "executed. If you trust the file, save its tensors as safetensors",
          where_, printable(full));
  push({.kind = Kind::name, .name = known});
}

void Unpickler::reduce() {
  const uint32_t arguments_number = pop(), function_number = pop();
  if (objects_[function_number].kind != Kind::name || objects_[arguments_number].kind != Kind::tuple)
    malformed("a call of what is no function");
  const Known& function = *objects_[function_number].name;
  switch (function.kind) {
    case Name::ordered_dict:
      if (!objects_[arguments_number].items.empty()) malformed("an OrderedDict with arguments");
      return push({.kind = Kind::dict});
    case Name::size: {
      item(objects_[arguments_number], 0, Kind::tuple, "a torch.Size of no tuple");
      const uint32_t inner = objects_[arguments_number].items[0];
      stack_.push_back(inner);
      return;
    }
    case Name::tensor:
    case Name::tensor_v2:
      return rebuild_tensor(objects_[arguments_number], false);
    case Name::tensor_v3:
      return rebuild_tensor(objects_[arguments_number], true);
    case Name::parameter: {
      item(objects_[arguments_number], 0, Kind::tensor, "a parameter of no tensor");
      const uint32_t inner = objects_[arguments_number].items[0];
      stack_.push_back(inner);
      return;
    }
    case Name::storage_type:
    case Name::dtype:
      malformed(fmt::format("a call of {}", function.name));
  }
}

// The attributes of an OrderedDict (state_dict()'s _metadata) say nothing about its tensors.
void Unpickler::build() {
  pop();
  if (objects_[top()].kind != Kind::dict) malformed("attributes of what has none");
}

const Object& Unpickler::run() {
  stack_.clear();
  marks_.clear();
  memo_.clear();
  for (;;) {
    const auto opcode = read<uint8_t>();
    switch (opcode) {
      case 0x80: {  // PROTO
        const auto version = read<uint8_t>();
        require(version >= 2 && version <= 5, kUnsupported, "{}: pickle protocol {} is not known", where_,
                version);
        break;
      }
      case 0x95:  // FRAME
        read<uint64_t>();
        break;
      case '.': {  // STOP
        const uint32_t result = pop();
        if (!stack_.empty() || !marks_.empty()) malformed("it leaves something over");
        return objects_[result];
      }
      case '(':  // MARK
        marks_.push_back(stack_.size());
        break;
      case '0':  // POP
        if (stack_.size() == floor() && !marks_.empty())
          marks_.pop_back();
        else
          pop();
        break;
      case '1':  // POP_MARK
        pop_mark();
        break;
      case 'N':
        push({});
        break;
      case 0x88:
      case 0x89:
        push({.kind = Kind::boolean, .integer = opcode == 0x88});
        break;
      case 'J':
        push_integer(read<int32_t>());
        break;
      case 'K':
        push_integer(read<uint8_t>());
        break;
      case 'M':
        push_integer(read<uint16_t>());
        break;
      case 0x8a:  // LONG1
        push_long(read<uint8_t>());
        break;
      case 0x8b:  // LONG4; as signed: a negative length is far too long
        push_long(read<uint32_t>());
        break;
      case 'G':  // BINFLOAT
        read<uint64_t>();
        push({.kind = Kind::real});
        break;
      case 'X':  // BINUNICODE, and the strings of Python 2
      case 'T':
      case 'B':
        push_text(read_text(read<uint32_t>()));
        break;
      case 0x8c:
      case 'U':
      case 'C':
        push_text(read_text(read<uint8_t>()));
        break;
      case 0x8d:
      case 0x8e:
        push_text(read_text(read<uint64_t>()));
        break;
      case '}':
        push({.kind = Kind::dict});
        break;
      case ']':
        push({.kind = Kind::list});
        break;
      case ')':
        push({.kind = Kind::tuple});
        break;
      case 't':
        push_tuple(pop_mark());
        break;
      case 0x85:
      case 0x86:
      case 0x87:
        push_tuple(size_t{opcode} - 0x84);
        break;
      case 'a': {  // APPEND
        const uint32_t value = pop();
        extend(Kind::list, {value});
        break;
      }
      case 'e':  // APPENDS
        extend(Kind::list, pop_mark());
        break;
      case 's': {  // SETITEM
        const uint32_t value = pop(), key = pop();
        extend(Kind::dict, {key, value});
        break;
      }
      case 'u':  // SETITEMS
        extend(Kind::dict, pop_mark());
        break;
      case 'q':
        memoize(read<uint8_t>());
        break;
      case 'r':
        memoize(read<uint32_t>());
        break;
      case 0x94:
        memoize(memo_.size());
        break;
      case 'h':
        recall(read<uint8_t>());
        break;
      case 'j':
        recall(read<uint32_t>());
        break;
      case 'c':    // GLOBAL
      case 'i': {  // INST: a GLOBAL that is called at once, which is nothing that torch writes
        const std::string_view module = read_line(), name = read_line();
        push_name(module, name);
        if (opcode == 'i') malformed("a call that torch does not write");
        break;
      }
      case 0x93: {  // STACK_GLOBAL
        const uint32_t name = pop(), module = pop();
        if (objects_[name].kind != Kind::text || objects_[module].kind != Kind::text)
          malformed("a name that is no text");
        push_name(objects_[module].text, objects_[name].text);
        break;
      }
      case 'R':
        reduce();
        break;
      case 'b':
        build();
        break;
      case 'Q':
        persistent_id();
        break;
      default:
        fail(
            "{}: the pickle has opcode 0x{:02x} at byte {}, which no state dict needs; nothing of it was "
            "executed",
            where_, opcode, position_ - 1);
    }
  }
}

}  // namespace outliers::io::pickle
