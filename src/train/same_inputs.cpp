#include "train/same_inputs.h"

#include <algorithm>
#include <cstdint>
#include <elf.h>
#include <link.h>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cohort/comm/different_rank.h"
#include "cohort/config/load.h"
#include "cohort/core/error.h"
#include "cohort/core/text.h"

namespace cohort::train {
namespace {

/// Identifies the library that this code is in; empty when the linker left no build id.
std::string build_id() {
  struct Search {
    std::uintptr_t inside;
    std::string id;
  } search{reinterpret_cast<std::uintptr_t>(&build_id), {}};
  ::dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* data) {
        auto& wanted = *static_cast<Search*>(data);
        const std::span headers(object->dlpi_phdr, object->dlpi_phnum);
        const bool is_here = std::any_of(headers.begin(), headers.end(), [&](const ElfW(Phdr) & header) {
          const auto begin = object->dlpi_addr + header.p_vaddr;
          return header.p_type == PT_LOAD && wanted.inside >= begin && wanted.inside < begin + header.p_memsz;
        });
        if (!is_here) return 0;
        for (const ElfW(Phdr) & header : headers) {
          if (header.p_type != PT_NOTE) continue;
          const auto* bytes = reinterpret_cast<const unsigned char*>(object->dlpi_addr + header.p_vaddr);
          const auto* const note = reinterpret_cast<const ElfW(Nhdr)*>(bytes);
          if (note->n_type != NT_GNU_BUILD_ID) continue;
          bytes += sizeof *note + (note->n_namesz + 3) / 4 * 4;
          for (const unsigned char byte : std::span(bytes, note->n_descsz))
            wanted.id += fmt::format("{:02x}", byte);
        }
        return 1;
      },
      &search);
  return search.id;
}

/// "key\tvalue" of every option, a line each; values may hold anything but line breaks.
std::string options_text(RunConfig config) {
  std::string text;
  const config::Fields fields(config);
  for (const config::Field& field : fields.list())
    text += fmt::format("{}\t{}\n", field.key, join(field.get(), ","));
  return text;
}

std::vector<std::pair<std::string, std::string>> options_of(const std::string& text) {
  std::vector<std::pair<std::string, std::string>> options;
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const std::string line = text.substr(begin, end - begin);
    const std::size_t tab = std::min(line.find('\t'), line.size());
    options.emplace_back(line.substr(0, tab), line.substr(std::min(tab + 1, line.size())));
  }
  return options;
}

/// Both texts list the same keys: the programs are the same.
[[noreturn]] void refuse_options(const comm::DifferentRank& found) {
  const auto first = options_of(found.first), other = options_of(found.other);
  const auto [mine, theirs] = std::mismatch(first.begin(), first.end(), other.begin(), other.end());
  throw UsageError({fmt::format("ranks were started with different values of {}: '{}' on rank 0, '{}' on "
                                "rank {}",
                                mine->first, mine->second, theirs->second, found.rank),
                    found.place(),
                    "start all ranks with the same file and the same overrides; see that all hosts read the "
                    "same files"});
}

}  // namespace

std::string program_identity() {
  return fmt::format("{} (build {})", COHORT_VERSION, build_id());
}

void check_same_program(const std::string& identity, comm::Communicator& ranks) {
  if (const auto found = comm::different_rank(identity, ranks)) {
    throw UsageError({fmt::format("ranks run different programs: Cohort {} on rank 0, {} on rank {}",
                                  found->first, found->other, found->rank),
                      found->place(), "install the same build on all hosts"});
  }
}

void check_same_options(const RunConfig& config, comm::Communicator& ranks) {
  if (const auto found = comm::different_rank(options_text(config), ranks)) refuse_options(*found);
}

}  // namespace cohort::train
