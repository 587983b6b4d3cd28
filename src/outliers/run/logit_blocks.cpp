#include "outliers/run/logit_blocks.h"

#include <algorithm>

#include <ATen/ATen.h>

#include "outliers/core/interrupt.h"
#include "outliers/run/head.h"
#include "outliers/run/memory_plan.h"

namespace outliers::run {

std::vector<LogitGroup> logit_groups(const LogitBlocks& reader, const std::vector<Chunk>& chunks,
                                     const Branches& branches) {
  std::vector<LogitGroup> groups;
  const std::vector<Input>& inputs = branches.inputs();
  for (size_t b = 0; b < inputs.size(); ++b) {
    if (inputs[b].parent) continue;
    const at::Tensor places = reader.places(b);
    const std::vector<size_t> own = chunks_of(chunks, b);
    for (size_t i = 0; i < own.size(); ++i) {
      const Chunk& chunk = chunks[own[i]];
      const int64_t begin = chunk.slice.first_sequence * chunk.tokens,
                    end = begin + chunk.sequences * chunk.tokens;
      const at::Tensor here = at::searchsorted(places, at::tensor({begin, end}, at::kLong));
      const int64_t first = here[0].item<int64_t>(), last = here[1].item<int64_t>();
      if (first == last) continue;
      LogitGroup& group =
          groups.emplace_back(LogitGroup{places.slice(0, first, last) - begin, first, {{own[i], {b}}}});
      for (size_t branch = b + 1; branch < inputs.size(); ++branch) {
        if (inputs[branch].parent != b) continue;
        if (branches.fork(branch) == Branches::kNever) {
          group.sources.front().inputs.push_back(branch);
        } else {
          group.sources.push_back({chunks_of(chunks, branch)[i], {branch}});
        }
      }
    }
  }
  return groups;
}

void show_logit_blocks(Head& head, const models::Config& config, const std::vector<LogitGroup>& groups,
                       const std::function<at::Tensor(size_t chunk)>& look, LogitBlocks& reader) {
  const int64_t V = config.vocabulary;
  for (int64_t begin = 0; begin < V; begin += kVocabularyRows) {
    const at::Tensor rows = head.rows(begin, std::min(begin + kVocabularyRows, V));
    for (const LogitGroup& group : groups) {
      for (int64_t first = 0; first < group.places.numel(); first += kLogitTokens) {
        const int64_t count = std::min(kLogitTokens, group.places.numel() - first);
        for (const LogitSource& source : group.sources) {
          check_interrupt();
          const at::Tensor x = look(source.chunk);
          const at::Tensor taken = group.places.narrow(0, first, count).to(x.device());
          const at::Tensor logits = head.block(x.flatten(0, 1).index_select(0, taken), rows, begin);
          for (const size_t input : source.inputs)
            reader.on_logits(input, group.first + first, begin, logits);
        }
      }
    }
  }
}

int64_t logit_block_bytes(const models::Config& config, int64_t tokens, int64_t e) {
  const int64_t n = std::min(tokens, kLogitTokens), rows = std::min(config.vocabulary, kVocabularyRows);
  return n * e * (config.width + config.embedding_width + rows);
}

}  // namespace outliers::run
