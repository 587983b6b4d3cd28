#include "outliers/io/zip.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <zlib.h>

#include "outliers/core/error.h"
#include "outliers/io/unaligned.h"

namespace outliers::io {
namespace {

// Sizes and offset of 0xFFFFFFFF stand, in this order, in the zip64 extra field.
void widen(ZipReader::Member& m, const uint8_t* extra, uint64_t left) {
  while (left >= 4) {
    const uint64_t id = read_unaligned<uint16_t>(extra),
                   size = std::min<uint64_t>(read_unaligned<uint16_t>(extra + 2), left - 4);
    if (id == 1) {
      uint64_t used = 0;
      for (uint64_t* field : {&m.bytes, &m.stored, &m.offset}) {
        if (*field == kZipSee64 && used + 8 <= size) {
          *field = read_unaligned<uint64_t>(extra + 4 + used);
          used += 8;
        }
      }
    }
    extra += 4 + size;
    left -= 4 + size;
  }
}

}  // namespace

ZipReader::ZipReader(const std::filesystem::path& path, std::string kind) : path_(path.string()), map_(path) {
  read_directory(kind);
}

const ZipReader::Member* ZipReader::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &members_[found->second];
}

const uint8_t* ZipReader::at(uint64_t offset, uint64_t bytes) const {
  require(offset <= map_.size() && bytes <= map_.size() - offset,
          "{} is damaged or cut short: an entry lies outside the file", path_);
  return map_.bytes().data() + offset;
}

void ZipReader::read_directory(const std::string& kind) {
  // The end record is the last thing, before a comment of at most 65,535 bytes.
  constexpr uint64_t end_size = 22;
  std::optional<uint64_t> end;
  for (uint64_t back = end_size; back <= std::min<uint64_t>(map_.size(), end_size + 65535) && !end; ++back) {
    if (read_unaligned<uint32_t>(at(map_.size() - back, 4)) == kZipEnd) end = map_.size() - back;
  }
  if (!end) map_.refuse_foreign();
  require(end.has_value(), "{} is no {}, or it is cut short", path_, kind);
  const uint8_t* record = at(*end, end_size);
  uint64_t count = read_unaligned<uint16_t>(record + 10), size = read_unaligned<uint32_t>(record + 12),
           start = read_unaligned<uint32_t>(record + 16);
  if ((count == 0xFFFF || size == kZipSee64 || start == kZipSee64) && *end >= 20 &&
      read_unaligned<uint32_t>(at(*end - 20, 20)) == kZipLocator64) {
    const uint8_t* wide = at(read_unaligned<uint64_t>(at(*end - 20, 20) + 8), 56);
    require(read_unaligned<uint32_t>(wide) == kZipEnd64, "{} is damaged: its directory is not where it says",
            path_);
    count = read_unaligned<uint64_t>(wide + 32);
    size = read_unaligned<uint64_t>(wide + 40);
    start = read_unaligned<uint64_t>(wide + 48);
  }
  require(count <= map_.size() / 46, "{} is damaged: it claims {} members", path_, count);
  const uint8_t* p = at(start, size);
  const uint8_t* const last = p + size;
  for (uint64_t i = 0; i < count; ++i) {
    require(last - p >= 46 && read_unaligned<uint32_t>(p) == kZipCentral,
            "{} is damaged: its directory ends early", path_);
    const uint64_t name = read_unaligned<uint16_t>(p + 28), extra = read_unaligned<uint16_t>(p + 30),
                   comment = read_unaligned<uint16_t>(p + 32);
    require(static_cast<uint64_t>(last - p) >= 46 + name + extra + comment,
            "{} is damaged: its directory ends early", path_);
    Member m{std::string(reinterpret_cast<const char*>(p) + 46, name),
             read_unaligned<uint16_t>(p + 10),
             read_unaligned<uint32_t>(p + 16),
             read_unaligned<uint32_t>(p + 20),
             read_unaligned<uint32_t>(p + 24),
             read_unaligned<uint32_t>(p + 42)};
    widen(m, p + 46 + name, extra);
    require(index_.emplace(m.name, members_.size()).second, "{} has two members named {}", path_,
            printable(m.name));
    members_.push_back(std::move(m));
    p += 46 + name + extra + comment;
  }
}

std::span<const uint8_t> ZipReader::raw(const Member& m) const {
  const uint8_t* local = at(m.offset, 30);
  require(read_unaligned<uint32_t>(local) == kZipLocal, "{} is damaged: {} is not where it should be", path_,
          printable(m.name));
  // The names' lengths may differ from the directory's: writers pad here to align the data.
  const uint64_t start =
      m.offset + 30 + read_unaligned<uint16_t>(local + 26) + read_unaligned<uint16_t>(local + 28);
  require(m.method != 0 || m.stored == m.bytes, "{} is damaged: {} has two sizes", path_, printable(m.name));
  return {at(start, m.stored), m.stored};
}

std::string ZipReader::contents(const Member& m) const {
  Stream stream(*this, m);
  std::string out(m.bytes, '\0');
  stream.read(out.data(), out.size());
  stream.finish();
  return out;
}

struct ZipReader::Stream::Inflater {
  z_stream z{};
  uint64_t used = 0;
  int status = Z_OK;

  Inflater() {
    require(inflateInit2(&z, -MAX_WBITS) == Z_OK, Cause{ErrorKind::memory}, "zlib: out of memory");
  }
  ~Inflater() { inflateEnd(&z); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Unpacks `bytes` or as many as there are.
  uint64_t read(std::span<const uint8_t> data, void* to, uint64_t bytes) {
    constexpr uint64_t piece = 1U << 30;
    uint64_t done = 0;
    while (status == Z_OK && done < bytes) {
      z.next_in = const_cast<Bytef*>(data.data() + used);
      z.avail_in = static_cast<uInt>(std::min<uint64_t>(data.size() - used, piece));
      z.next_out = static_cast<Bytef*>(to) + done;
      z.avail_out = static_cast<uInt>(std::min<uint64_t>(bytes - done, piece));
      const uint64_t in = z.avail_in, room = z.avail_out;
      status = inflate(&z, Z_NO_FLUSH);
      used += in - z.avail_in;
      done += room - z.avail_out;
      if (status == Z_OK && in == z.avail_in && room == z.avail_out) status = Z_BUF_ERROR;
    }
    return done;
  }
};

ZipReader::Stream::Stream(const ZipReader& zip, const Member& m) : zip_(zip), member_(m), data_(zip.raw(m)) {
  if (m.method == 0) return;
  require(m.method == 8, kUnsupported, "{}: {} is compressed by method {}, which is not known", zip.path(),
          printable(m.name), m.method);
  // Deflate shrinks at most about 1032 : 1, so a larger claim is a lie.
  require(m.bytes / 1100 <= m.stored, "{} is damaged: {} claims {} bytes", zip.path(), printable(m.name),
          m.bytes);
  inflater_ = std::make_unique<Inflater>();
}

ZipReader::Stream::~Stream() = default;

void ZipReader::Stream::refuse(const char* what) const {
  fail("{} is damaged: {} {}", zip_.path(), printable(member_.name), what);
}

void ZipReader::Stream::read(void* to, uint64_t bytes) {
  if (bytes > member_.bytes - read_) refuse("ends too early");
  if (inflater_) {
    if (inflater_->read(data_, to, bytes) != bytes) refuse("does not decompress");
  } else if (bytes > 0) {
    std::memcpy(to, data_.data() + read_, bytes);
  }
  read_ += bytes;
  crc_ = static_cast<uint32_t>(crc32_z(crc_, static_cast<const Bytef*>(to), bytes));
}

void ZipReader::Stream::finish() {
  if (read_ < member_.bytes) return;
  uint8_t more = 0;
  if (inflater_ && (inflater_->read(data_, &more, 1) != 0 || inflater_->status != Z_STREAM_END))
    refuse("does not decompress");
  if (crc_ != member_.crc) refuse("has the wrong checksum");
}

}  // namespace outliers::io
