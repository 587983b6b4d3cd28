// Zip as in io/zip.h, .npy as NumPy's numpy.lib.format, version 1.0.
#include "outliers/io/npz.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>

#include <ATen/ATen.h>
#include <zlib.h>

#include "outliers/core/error.h"
#include "outliers/io/mapped_file.h"
#include "outliers/io/unaligned.h"
#include "outliers/io/zip.h"

namespace outliers::io {
namespace {

constexpr uint16_t kVersion64 = 45;

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

struct NumpyType {
  const char* descr;
  at::ScalarType dtype;
};
constexpr NumpyType kTypes[] = {{"<f4", at::kFloat}, {"<f2", at::kHalf}, {"<f8", at::kDouble},
                                {"<i8", at::kLong},  {"<i4", at::kInt},  {"<i2", at::kShort},
                                {"|i1", at::kChar},  {"|u1", at::kByte}, {"|b1", at::kBool}};

std::string npy_header(const at::Tensor& tensor) {
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const NumpyType& t) { return t.dtype == tensor.scalar_type(); });
  require(type != std::end(kTypes), kArgument, "npz: NumPy has no dtype {}",
          at::toString(tensor.scalar_type()));
  std::string shape;
  for (const int64_t size : tensor.sizes()) shape += fmt::format("{}, ", size);
  if (tensor.dim() > 1) shape.resize(shape.size() - 2);
  if (tensor.dim() == 1) shape.pop_back();
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type->descr, shape);
  // The header with its 10 bytes of preamble and a newline fills a multiple of 64.
  text.append((64 - (text.size() + 11) % 64) % 64, ' ');
  text += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  put(out, static_cast<uint16_t>(text.size()));
  return out + text;
}

uint32_t crc(uint32_t start, const void* data, uint64_t bytes) {
  return static_cast<uint32_t>(crc32_z(start, static_cast<const Bytef*>(data), bytes));
}

constexpr uint64_t kFirstBytes =
    10;  ///< magic, version, and the length of what follows, or two bytes of its four
constexpr uint64_t kLongestHeader = uint64_t{1} << 20;

using ReadBytes = std::function<void(void* to, uint64_t bytes)>;

/// What stands before an array's values.
struct Header {
  at::ScalarType dtype;
  std::vector<int64_t> shape;
  bool fortran_order;
  int64_t elements;
};

/// The header of an .npy of `size` bytes, checked against them. `where` names the array in messages.
Header read_header(const ReadBytes& read, uint64_t size, const std::string& where) {
  const auto malformed = [&](const char* what) { fail("{} {}", where, what); };
  if (size < kFirstBytes) malformed("is no .npy array");
  uint8_t first[kFirstBytes + 2] = {};
  read(first, kFirstBytes);
  if (std::memcmp(first, "\x93NUMPY", 6) != 0) malformed("is no .npy array");
  const int major = first[6];
  const uint64_t preamble = major == 1 ? kFirstBytes : kFirstBytes + 2;
  if (major < 1 || major > 3 || size < preamble) malformed("has an unknown .npy version");
  if (major > 1) read(first + kFirstBytes, 2);
  const uint64_t length =
      major == 1 ? read_unaligned<uint16_t>(first + 8) : read_unaligned<uint32_t>(first + 8);
  if (length > size - preamble) malformed("ends inside its header");
  if (length > kLongestHeader) malformed("has a header of more than a megabyte");
  std::string header(length, '\0');
  read(header.data(), header.size());

  // The header is a Python literal of a fixed form: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3),
  // }.
  const auto value_of = [&](const char* key) {
    const size_t place = header.find(fmt::format("'{}':", key));
    if (place == std::string::npos) malformed("has an incomplete header");
    return header.substr(place + std::strlen(key) + 3);
  };
  const std::string descr_text = value_of("descr"), order = value_of("fortran_order"),
                    shape_text = value_of("shape");
  const size_t quote = descr_text.find('\''), close = descr_text.find('\'', quote + 1);
  if (quote == std::string::npos || close == std::string::npos) malformed("has a dtype with fields");
  std::string descr = descr_text.substr(quote + 1, close - quote - 1);
  const auto* type = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const NumpyType& t) { return descr == t.descr; });
  if (type == std::end(kTypes))
    fail(kUnsupported, "{} has dtype {}, which is not known here", where, printable(descr));
  const bool fortran_order = order.find("True") < order.find(',');

  std::vector<int64_t> shape;
  const size_t open = shape_text.find('('), shut = shape_text.find(')');
  if (open == std::string::npos || shut == std::string::npos || shut < open)
    malformed("has an incomplete header");
  int64_t elements = 1;
  const std::string sizes = shape_text.substr(open + 1, shut - open - 1);
  for (size_t i = 0; i < sizes.size();) {
    if (sizes[i] == ' ' || sizes[i] == ',') {
      ++i;
      continue;
    }
    int64_t extent = 0;
    const size_t begin = i;
    for (; i < sizes.size() && sizes[i] >= '0' && sizes[i] <= '9' && i - begin < 18; ++i)
      extent = extent * 10 + (sizes[i] - '0');
    if (i == begin || shape.size() >= 64) malformed("has no valid shape");
    if (__builtin_mul_overflow(elements, extent, &elements)) malformed("has a shape that overflows");
    shape.push_back(extent);
  }
  const uint64_t start = preamble + length, width = c10::elementSize(type->dtype);
  if (static_cast<uint64_t>(elements) > size / width ||
      static_cast<uint64_t>(elements) * width != size - start) {
    malformed("has another size than its shape");
  }
  return {type->dtype, std::move(shape), fortran_order, elements};
}

/// The array that follows its header.
at::Tensor read_values(const ReadBytes& read, const Header& header) {
  std::vector<int64_t> shape = header.shape;
  // In Fortran order the first index runs fastest: the transpose stands there.
  if (header.fortran_order) std::reverse(shape.begin(), shape.end());
  at::Tensor out = at::empty(shape, header.dtype);
  if (header.elements > 0) read(out.mutable_data_ptr(), out.nbytes());
  if (!header.fortran_order) return out;
  std::vector<int64_t> backwards(shape.size());
  std::iota(backwards.rbegin(), backwards.rend(), int64_t{0});
  return out.permute(backwards).contiguous();
}

}  // namespace

NpzWriter::NpzWriter(const std::filesystem::path& path, bool force) : file_(path, force) {}

void NpzWriter::add(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor plain =
      tensor.to(at::kCPU, tensor.scalar_type() == at::kBFloat16 ? at::kFloat : tensor.scalar_type())
          .contiguous();
  const std::string header = npy_header(plain), member = name + ".npy";
  for (const Member& m : members_)
    require(m.name != member, kArgument, "npz: array {} is there already", printable(name));
  uint32_t sum = crc(0, header.data(), header.size());
  sum = crc(sum, plain.data_ptr(), plain.nbytes());
  const uint64_t bytes = header.size() + plain.nbytes();
  members_.push_back({member, sum, bytes, file_.bytes_written()});

  std::string local;
  put(local, kZipLocal);
  put(local, kVersion64);
  put<uint16_t>(local, 0x800);       // names are UTF-8
  put<uint16_t>(local, 0);           // stored
  put<uint32_t>(local, 0x00210000);  // 1 January 1980: the same data gives the same file
  put(local, sum);
  put(local, kZipSee64);
  put(local, kZipSee64);
  put(local, static_cast<uint16_t>(member.size()));
  put<uint16_t>(local, 20);
  local += member;
  put<uint16_t>(local, 1);  // zip64: both sizes
  put<uint16_t>(local, 16);
  put(local, bytes);
  put(local, bytes);
  file_.write(local);
  file_.write(header);
  file_.write(plain.data_ptr(), plain.nbytes());
}

void NpzWriter::commit() {
  const uint64_t start = file_.bytes_written();
  std::string out;
  for (const Member& m : members_) {
    put(out, kZipCentral);
    put(out, kVersion64);
    put(out, kVersion64);
    put<uint16_t>(out, 0x800);
    put<uint16_t>(out, 0);
    put<uint32_t>(out, 0x00210000);
    put(out, m.crc);
    put(out, kZipSee64);
    put(out, kZipSee64);
    put(out, static_cast<uint16_t>(m.name.size()));
    put<uint16_t>(out, 28);
    out.append(2 + 2 + 2, '\0');  // comment, disk, internal attributes
    put<uint32_t>(out, 0100644U << 16);
    put(out, kZipSee64);
    out += m.name;
    put<uint16_t>(out, 1);  // zip64: both sizes and the offset
    put<uint16_t>(out, 24);
    put(out, m.bytes);
    put(out, m.bytes);
    put(out, m.offset);
  }
  const uint64_t directory = out.size(), count = members_.size();
  put(out, kZipEnd64);
  put<uint64_t>(out, 44);
  put(out, kVersion64);
  put(out, kVersion64);
  out.append(8, '\0');  // disks
  put(out, count);
  put(out, count);
  put(out, directory);
  put(out, start);
  put(out, kZipLocator64);
  put<uint32_t>(out, 0);
  put<uint64_t>(out, start + directory);
  put<uint32_t>(out, 1);
  put(out, kZipEnd);
  put<uint32_t>(out, 0);
  const auto short_count = static_cast<uint16_t>(std::min<uint64_t>(count, 0xFFFF));
  put(out, short_count);
  put(out, short_count);
  put(out, kZipSee64);
  put(out, kZipSee64);
  put<uint16_t>(out, 0);
  file_.write(out);
  file_.commit();
}

struct NpzReader::State {
  ZipReader zip;
  std::vector<std::string> names;
  std::map<std::string, const ZipReader::Member*> members;

  explicit State(const std::filesystem::path& path) : zip(path, ".npz file") {
    for (const ZipReader::Member& member : zip.members()) {
      std::string name = member.name;
      if (name.ends_with(".npy")) name.resize(name.size() - 4);
      require(members.emplace(name, &member).second, "{} has two arrays named {}", zip.path(),
              printable(name));
      names.push_back(name);
    }
  }
};

NpzReader::NpzReader(const std::filesystem::path& path) : state_(std::make_unique<State>(path)) {}
NpzReader::~NpzReader() = default;
NpzReader::NpzReader(NpzReader&&) noexcept = default;

const std::vector<std::string>& NpzReader::names() const {
  return state_->names;
}
bool NpzReader::has(const std::string& name) const {
  return state_->members.count(name) != 0;
}

at::Tensor NpzReader::read(const std::string& name) const {
  NpzArray array = open(name);
  at::Tensor out = array.whole();
  array.finish();
  return out;
}

struct NpzArray::State {
  ZipReader::Stream stream;
  Header header;
  at::Tensor in_order;  ///< of an array in Fortran order, no part of which stands together in the file
  int64_t done = 0;

  State(const ZipReader& zip, const ZipReader::Member& member, const std::string& where)
      : stream(zip, member), header(read_header(reader(), member.bytes, where)) {}
  ReadBytes reader() {
    return [this](void* to, uint64_t bytes) { stream.read(to, bytes); };
  }
};

NpzArray NpzReader::open(const std::string& name) const {
  const auto found = state_->members.find(name);
  require(found != state_->members.end(), kArgument, "{} has no array {}", state_->zip.path(),
          printable(name));
  return NpzArray(std::make_unique<NpzArray::State>(
      state_->zip, *found->second, fmt::format("{}: array {}", state_->zip.path(), printable(name))));
}

NpzArray::NpzArray(std::unique_ptr<State> state) : state_(std::move(state)) {}
NpzArray::~NpzArray() = default;
NpzArray::NpzArray(NpzArray&&) noexcept = default;

const std::vector<int64_t>& NpzArray::shape() const {
  return state_->header.shape;
}
at::ScalarType NpzArray::dtype() const {
  return state_->header.dtype;
}

at::Tensor NpzArray::next(int64_t count) {
  State& s = *state_;
  require(count >= 0 && count <= s.header.elements - s.done, kArgument,
          "npz: {} values are more than are left", count);
  at::Tensor part;
  if (s.header.fortran_order) {
    if (!s.in_order.defined()) s.in_order = read_values(s.reader(), s.header).flatten();
    part = s.in_order.narrow(0, s.done, count);
  } else {
    part = at::empty({count}, s.header.dtype);
    if (count > 0) s.stream.read(part.mutable_data_ptr(), part.nbytes());
  }
  s.done += count;
  return part;
}

at::Tensor NpzArray::whole() {
  State& s = *state_;
  require(s.done == 0, kArgument, "npz: an array is read in parts or as a whole");
  s.done = s.header.elements;
  return read_values(s.reader(), s.header);
}

void NpzArray::finish() {
  state_->stream.finish();
}

at::Tensor read_npy(const std::filesystem::path& path) {
  const MappedFile file(path);
  file.refuse_foreign();
  const std::string where = fmt::format("{}: the array", printable(path.string()));
  uint64_t at = 0;
  const auto read = [&](void* to, uint64_t bytes) {
    require(bytes <= file.size() - at, "{} ends too early", where);
    std::memcpy(to, file.bytes().data() + at, bytes);
    at += bytes;
  };
  const Header header = read_header(read, file.size(), where);
  return read_values(read, header);
}

}  // namespace outliers::io
