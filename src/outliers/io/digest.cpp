#include "outliers/io/digest.h"

#include <openssl/evp.h>

#include <fmt/format.h>

#include "outliers/core/error.h"

namespace outliers::io {

struct Digest::State {
  explicit State(const EVP_MD* kind) : context(EVP_MD_CTX_new()) {
    // SHA-1 is refused where OpenSSL runs in a restricted (FIPS) mode.
    require(context != nullptr && EVP_DigestInit_ex(context, kind, nullptr) == 1, kUnsupported,
            "OpenSSL has no {} here", EVP_MD_get0_name(kind));
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  EVP_MD_CTX* context;
};

Digest::Digest(std::unique_ptr<State> state) : state_(std::move(state)) {}
Digest::~Digest() = default;
Digest::Digest(Digest&& other) noexcept = default;
Digest& Digest::operator=(Digest&& other) noexcept = default;

Digest Digest::sha256() {
  return Digest(std::make_unique<State>(EVP_sha256()));
}

Digest Digest::git_blob(uint64_t size) {
  Digest digest(std::make_unique<State>(EVP_sha1()));
  const std::string header = fmt::format("blob {}", size);
  digest.update({header.c_str(), header.size() + 1});
  return digest;
}

void Digest::update(std::string_view bytes) {
  EVP_DigestUpdate(state_->context, bytes.data(), bytes.size());
}

std::string Digest::finish() {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(state_->context, hash, &length);
  std::string text;
  for (unsigned i = 0; i < length; ++i) text += fmt::format("{:02x}", hash[i]);
  return text;
}

}  // namespace outliers::io
