#include "outliers/io/mapped_checkpoint.h"

#include <iterator>

namespace outliers::io {

void MappedCheckpoint::add_file(const MappedFile& map, std::vector<TensorInfo> tensors,
                                const std::vector<uint64_t>& offsets) {
  for (size_t i = 0; i < tensors.size(); ++i) places_.emplace(tensors[i].name, Place{&map, offsets[i]});
  all_.insert(all_.end(), std::make_move_iterator(tensors.begin()), std::make_move_iterator(tensors.end()));
}

const uint8_t* MappedCheckpoint::data(const TensorInfo& info) const {
  const Place& place = places_.at(info.name);
  return place.map->bytes().data() + place.offset;
}

void MappedCheckpoint::advise(const std::string& name, Advice action) const {
  const TensorInfo& info = at(name);
  const Place& place = places_.at(info.name);
  (place.map->*action)(place.offset, info.bytes);
}

void MappedCheckpoint::advise_row(const std::string& name, int64_t row, Advice action) const {
  const TensorInfo& info = at(name);
  const Place& place = places_.at(info.name);
  const uint64_t bytes = row_bytes(info);
  (place.map->*action)(place.offset + static_cast<uint64_t>(row) * bytes, bytes);
}

void MappedCheckpoint::prefetch(const std::string& name) const {
  advise(name, &MappedFile::prefetch);
}
void MappedCheckpoint::release(const std::string& name) const {
  advise(name, &MappedFile::release);
}
void MappedCheckpoint::prefetch_row(const std::string& name, int64_t row) const {
  advise_row(name, row, &MappedFile::prefetch);
}
void MappedCheckpoint::release_row(const std::string& name, int64_t row) const {
  advise_row(name, row, &MappedFile::release);
}

}  // namespace outliers::io
