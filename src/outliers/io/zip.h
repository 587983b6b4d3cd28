// A zip archive, mapped for reading (PKWARE's APPNOTE 6.3): stored and deflated members, zip64. NPZ and
// PyTorch's files are such archives. Writing stays with NpzWriter, which needs one form only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "outliers/io/mapped_file.h"

namespace outliers::io {

inline constexpr uint32_t kZipLocal = 0x04034b50, kZipCentral = 0x02014b50, kZipEnd = 0x06054b50,
                          kZipEnd64 = 0x06064b50, kZipLocator64 = 0x07064b50;
/// In a 32-bit field: the value stands in the zip64 record.
inline constexpr uint32_t kZipSee64 = 0xFFFFFFFF;

/// Holds the archive's directory; members are read when asked for.
class ZipReader {
 public:
  struct Member {
    std::string name;
    uint16_t method;  ///< 0 stored, 8 deflated
    uint32_t crc;
    uint64_t stored, bytes, offset;  ///< in the file; unpacked; of the local header
  };

  /// `kind` names what the archive should be, for messages: ".npz file". Throws for a file that is no zip
  /// archive, or that claims what cannot be.
  ZipReader(const std::filesystem::path& path, std::string kind);

  const std::string& path() const { return path_; }
  const MappedFile& map() const { return map_; }
  /// In file order.
  const std::vector<Member>& members() const { return members_; }
  /// nullptr when there is none of that name.
  const Member* find(const std::string& name) const;

  /// A member's bytes as they lie in the file; checked to lie in it. For a deflated member these are
  /// deflated.
  std::span<const uint8_t> raw(const Member& member) const;
  /// The unpacked bytes; throws where they do not have the member's size and checksum.
  std::string contents(const Member& member) const;

  /// A member's unpacked bytes in turn, of which no more are held than are asked for. Outlived by the reader.
  class Stream {
   public:
    /// Throws for a member that claims more than its bytes can become.
    Stream(const ZipReader& zip, const Member& member);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    const Member& member() const { return member_; }
    /// The next bytes; throws where there are not as many.
    void read(void* to, uint64_t bytes);
    /// Throws where there are more bytes, or their checksum is not the member's. Those that were not read are
    /// not checked.
    void finish();

   private:
    struct Inflater;
    [[noreturn]] void refuse(const char* what) const;

    const ZipReader& zip_;
    const Member& member_;
    std::span<const uint8_t> data_;
    std::unique_ptr<Inflater> inflater_;  ///< none where the member is stored
    uint64_t read_ = 0;
    uint32_t crc_ = 0;
  };

 private:
  const uint8_t* at(uint64_t offset, uint64_t bytes) const;
  void read_directory(const std::string& kind);

  std::string path_;
  MappedFile map_;
  std::vector<Member> members_;
  std::map<std::string, size_t> index_;
};

}  // namespace outliers::io
