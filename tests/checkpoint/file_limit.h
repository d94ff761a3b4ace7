#pragma once
#include <csignal>
#include <sys/resource.h>

namespace cohort::checkpoint {

/// No file of this process may grow beyond `bytes`: the system refuses writes as it does on a full disk.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) {
    previous_ = std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit_);
    const rlimit low{bytes, limit_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &low);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, previous_);
  }

 private:
  rlimit limit_{};
  void (*previous_)(int) = nullptr;
};

}  // namespace cohort::checkpoint
