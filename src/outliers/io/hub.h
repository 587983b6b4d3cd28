// Names on the Hugging Face Hub in place of paths, resolved as Hugging Face's own tools do: with their cache,
// their settings and only the files that a model needs.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "outliers/io/hub_remote.h"

namespace outliers::io {

/// ORG/NAME[@REVISION][:FILE] in parts; nullopt for a text that cannot be one.
std::optional<HubName> parse_hub_name(const std::string& text);

/// What there is of a repository on this machine after fetching what was missing: the snapshot's directory,
/// or the path of the one file that was asked for or that is the model. The cache alone is asked with
/// HF_HUB_OFFLINE, for a commit that it has, and when the Hub does not answer. Errors are one line and leave
/// the cache sound.
std::filesystem::path fetch_from_hub(const HubName& name, const HubSettings& settings);

/// A path that exists is itself, whatever else it may name; `file` is looked for below a directory. Anything
/// else is a name on the Hub. Empty strings are parts that were not given. Throws when it is neither.
std::filesystem::path resolve_model(const std::string& model, const std::string& revision,
                                    const std::string& file);

/// Whether a text names files of a data set on the Hub: it begins with hf://.
bool is_hub_address(const std::string& text);

/// hf://datasets/ORG/NAME[@REVISION]/FILE in parts, as huggingface_hub's file system has it. Throws for
/// another form.
HubName parse_hub_address(const std::string& text);

/// The files of an address, fetched where the cache lacks them, in the order of their names. FILE may have
/// the wildcards of a shell: `*` and `?` within a name, `**` for folders. Throws where none is there.
std::vector<std::filesystem::path> fetch_data_set(const std::string& address);

/// "ORG/NAME" for a path in a cache of the Hub's layout, else "".
std::string hub_name_of(const std::filesystem::path& path);

}  // namespace outliers::io
