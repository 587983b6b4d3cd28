// Zip as PKWARE's APPNOTE 6.3 has it, .npy as NumPy's numpy.lib.format, version 1.0.
#include "outliers/io/npz.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>

#include <ATen/ATen.h>
#include <zlib.h>

#include "outliers/core/error.h"
#include "outliers/io/mapped_file.h"

namespace outliers::io {
namespace {

constexpr uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50, kEnd64 = 0x06064b50,
                   kLocator64 = 0x07064b50;
constexpr uint32_t kSee64 = 0xFFFFFFFF;
constexpr uint16_t kVersion64 = 45;

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
T get(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
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
  require(type != std::end(kTypes), "npz: NumPy has no dtype {}", at::toString(tensor.scalar_type()));
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

}  // namespace

NpzWriter::NpzWriter(const std::filesystem::path& path, bool force) : file_(path, force) {}

void NpzWriter::add(const std::string& name, const at::Tensor& tensor) {
  const at::Tensor plain =
      tensor.to(at::kCPU, tensor.scalar_type() == at::kBFloat16 ? at::kFloat : tensor.scalar_type())
          .contiguous();
  const std::string header = npy_header(plain), member = name + ".npy";
  for (const Member& m : members_)
    require(m.name != member, "npz: array {} is there already", printable(name));
  uint32_t sum = crc(0, header.data(), header.size());
  sum = crc(sum, plain.data_ptr(), plain.nbytes());
  const uint64_t bytes = header.size() + plain.nbytes();
  members_.push_back({member, sum, bytes, file_.bytes_written()});

  std::string local;
  put(local, kLocal);
  put(local, kVersion64);
  put<uint16_t>(local, 0x800);       // names are UTF-8
  put<uint16_t>(local, 0);           // stored
  put<uint32_t>(local, 0x00210000);  // 1 January 1980: the same data gives the same file
  put(local, sum);
  put(local, kSee64);
  put(local, kSee64);
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
    put(out, kCentral);
    put(out, kVersion64);
    put(out, kVersion64);
    put<uint16_t>(out, 0x800);
    put<uint16_t>(out, 0);
    put<uint32_t>(out, 0x00210000);
    put(out, m.crc);
    put(out, kSee64);
    put(out, kSee64);
    put(out, static_cast<uint16_t>(m.name.size()));
    put<uint16_t>(out, 28);
    out.append(2 + 2 + 2, '\0');  // comment, disk, internal attributes
    put<uint32_t>(out, 0100644U << 16);
    put(out, kSee64);
    out += m.name;
    put<uint16_t>(out, 1);  // zip64: both sizes and the offset
    put<uint16_t>(out, 24);
    put(out, m.bytes);
    put(out, m.bytes);
    put(out, m.offset);
  }
  const uint64_t directory = out.size(), count = members_.size();
  put(out, kEnd64);
  put<uint64_t>(out, 44);
  put(out, kVersion64);
  put(out, kVersion64);
  out.append(8, '\0');  // disks
  put(out, count);
  put(out, count);
  put(out, directory);
  put(out, start);
  put(out, kLocator64);
  put<uint32_t>(out, 0);
  put<uint64_t>(out, start + directory);
  put<uint32_t>(out, 1);
  put(out, kEnd);
  put<uint32_t>(out, 0);
  const auto short_count = static_cast<uint16_t>(std::min<uint64_t>(count, 0xFFFF));
  put(out, short_count);
  put(out, short_count);
  put(out, kSee64);
  put(out, kSee64);
  put<uint16_t>(out, 0);
  file_.write(out);
  file_.commit();
}

struct NpzReader::State {
  struct Member {
    uint16_t method;
    uint32_t crc;
    uint64_t stored, bytes, offset;
  };
  std::string path;
  MappedFile map;
  std::vector<std::string> names;
  std::map<std::string, Member> members;

  explicit State(const std::filesystem::path& p) : path(p.string()), map(p) { read_directory(); }

  const uint8_t* at(uint64_t offset, uint64_t bytes) const {
    require(offset <= map.size() && bytes <= map.size() - offset,
            "{} is damaged or cut short: an entry lies outside the file", path);
    return map.bytes().data() + offset;
  }

  void read_directory() {
    // The end record is the last thing, before a comment of at most 65,535 bytes.
    constexpr uint64_t end_size = 22;
    std::optional<uint64_t> end;
    for (uint64_t back = end_size; back <= std::min<uint64_t>(map.size(), end_size + 65535) && !end; ++back) {
      if (get<uint32_t>(at(map.size() - back, 4)) == kEnd) end = map.size() - back;
    }
    require(end.has_value(), "{} is no .npz file, or it is cut short", path);
    const uint8_t* record = at(*end, end_size);
    uint64_t count = get<uint16_t>(record + 10), size = get<uint32_t>(record + 12),
             start = get<uint32_t>(record + 16);
    if ((count == 0xFFFF || size == kSee64 || start == kSee64) && *end >= 20 &&
        get<uint32_t>(at(*end - 20, 20)) == kLocator64) {
      const uint8_t* wide = at(get<uint64_t>(at(*end - 20, 20) + 8), 56);
      require(get<uint32_t>(wide) == kEnd64, "{} is damaged: its directory is not where it says", path);
      count = get<uint64_t>(wide + 32);
      size = get<uint64_t>(wide + 40);
      start = get<uint64_t>(wide + 48);
    }
    require(count <= map.size() / 46, "{} is damaged: it claims {} arrays", path, count);
    const uint8_t* p = at(start, size);
    const uint8_t* const last = p + size;
    for (uint64_t i = 0; i < count; ++i) {
      require(last - p >= 46 && get<uint32_t>(p) == kCentral, "{} is damaged: its directory ends early",
              path);
      const uint64_t name = get<uint16_t>(p + 28), extra = get<uint16_t>(p + 30),
                     comment = get<uint16_t>(p + 32);
      require(static_cast<uint64_t>(last - p) >= 46 + name + extra + comment,
              "{} is damaged: its directory ends early", path);
      Member m{get<uint16_t>(p + 10), get<uint32_t>(p + 16), get<uint32_t>(p + 20), get<uint32_t>(p + 24),
               get<uint32_t>(p + 42)};
      widen(m, p + 46 + name, extra);
      std::string text(reinterpret_cast<const char*>(p) + 46, name);
      if (text.ends_with(".npy")) text.resize(text.size() - 4);
      require(members.emplace(text, m).second, "{} has two arrays named {}", path, printable(text));
      names.push_back(text);
      p += 46 + name + extra + comment;
    }
  }

  // Sizes and offset of 0xFFFFFFFF stand, in this order, in the zip64 extra field.
  static void widen(Member& m, const uint8_t* extra, uint64_t left) {
    while (left >= 4) {
      const uint64_t id = get<uint16_t>(extra), size = std::min<uint64_t>(get<uint16_t>(extra + 2), left - 4);
      if (id == 1) {
        uint64_t used = 0;
        for (uint64_t* field : {&m.bytes, &m.stored, &m.offset}) {
          if (*field == kSee64 && used + 8 <= size) {
            *field = get<uint64_t>(extra + 4 + used);
            used += 8;
          }
        }
      }
      extra += 4 + size;
      left -= 4 + size;
    }
  }

  std::string contents(const std::string& name, const Member& m) const {
    const uint8_t* local = at(m.offset, 30);
    require(get<uint32_t>(local) == kLocal, "{} is damaged: array {} is not where it should be", path,
            printable(name));
    const uint64_t start = m.offset + 30 + get<uint16_t>(local + 26) + get<uint16_t>(local + 28);
    const uint8_t* data = at(start, m.stored);
    std::string out;
    if (m.method == 0) {
      require(m.stored == m.bytes, "{} is damaged: array {} has two sizes", path, printable(name));
      out.assign(reinterpret_cast<const char*>(data), m.bytes);
    } else {
      require(m.method == 8, "{}: array {} is compressed by method {}, which is not known", path,
              printable(name), m.method);
      // Deflate shrinks at most about 1032 : 1, so a larger claim is a lie.
      require(m.bytes / 1100 <= m.stored, "{} is damaged: array {} claims {} bytes", path, printable(name),
              m.bytes);
      out.resize(m.bytes);
      z_stream z{};
      require(inflateInit2(&z, -MAX_WBITS) == Z_OK, "zlib: out of memory");
      uint64_t read = 0, written = 0;
      int status = Z_OK;
      while (status == Z_OK) {
        z.next_in = const_cast<Bytef*>(data + read);
        z.avail_in = static_cast<uInt>(std::min<uint64_t>(m.stored - read, 1U << 30));
        z.next_out = reinterpret_cast<Bytef*>(out.data()) + written;
        z.avail_out = static_cast<uInt>(std::min<uint64_t>(m.bytes - written, 1U << 30));
        const uint64_t in = z.avail_in, room = z.avail_out;
        status = inflate(&z, Z_NO_FLUSH);
        read += in - z.avail_in;
        written += room - z.avail_out;
        if (status == Z_OK && in == z.avail_in && room == z.avail_out) status = Z_BUF_ERROR;
      }
      inflateEnd(&z);
      require(status == Z_STREAM_END && written == m.bytes, "{} is damaged: array {} does not decompress",
              path, printable(name));
    }
    require(crc(0, out.data(), out.size()) == m.crc, "{} is damaged: array {} has the wrong checksum", path,
            printable(name));
    return out;
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
  const auto found = state_->members.find(name);
  require(found != state_->members.end(), "{} has no array {}", state_->path, printable(name));
  const std::string raw = state_->contents(name, found->second);
  const auto malformed = [&](const char* what) {
    fail("{}: array {} {}", state_->path, printable(name), what);
  };
  if (raw.size() < 10 || raw.compare(0, 6, "\x93NUMPY") != 0) malformed("is no .npy array");
  const auto* bytes = reinterpret_cast<const uint8_t*>(raw.data());
  const int major = bytes[6];
  const uint64_t preamble = major == 1 ? 10 : 12;
  if (major < 1 || major > 3 || raw.size() < preamble) malformed("has an unknown .npy version");
  const uint64_t length = major == 1 ? get<uint16_t>(bytes + 8) : get<uint32_t>(bytes + 8);
  if (length > raw.size() - preamble) malformed("ends inside its header");
  const std::string header = raw.substr(preamble, length);

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
    fail("{}: array {} has dtype {}, which is not known here", state_->path, printable(name),
         printable(descr));
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
    int64_t size = 0;
    const size_t begin = i;
    for (; i < sizes.size() && sizes[i] >= '0' && sizes[i] <= '9' && i - begin < 18; ++i)
      size = size * 10 + (sizes[i] - '0');
    if (i == begin || shape.size() >= 64) malformed("has no valid shape");
    if (__builtin_mul_overflow(elements, size, &elements)) malformed("has a shape that overflows");
    shape.push_back(size);
  }
  const uint64_t start = preamble + length, width = c10::elementSize(type->dtype);
  if (static_cast<uint64_t>(elements) > raw.size() / width ||
      static_cast<uint64_t>(elements) * width != raw.size() - start) {
    malformed("has another size than its shape");
  }
  // In Fortran order the first index runs fastest: the transpose stands there.
  if (fortran_order) std::reverse(shape.begin(), shape.end());
  at::Tensor out = at::empty(shape, type->dtype);
  if (elements > 0) std::memcpy(out.data_ptr(), raw.data() + start, out.nbytes());
  if (!fortran_order) return out;
  std::vector<int64_t> backwards(shape.size());
  std::iota(backwards.rbegin(), backwards.rend(), int64_t{0});
  return out.permute(backwards).contiguous();
}

}  // namespace outliers::io
