#pragma once
// What libjpeg says of a file, for all who read JPEG: a file that a conversion accepts can be decoded later.
#include <csetjmp>
#include <cstdio>
#include <string>

#include <fmt/format.h>
#include <jpeglib.h>

// Needs size_t and FILE, and jpeglib.h before it.
#include <jerror.h>

namespace cohort {

/// libjpeg reports errors through a function that must not return: `return_to` has to be set, and no object
/// with a destructor may live in a function that calls libjpeg.
struct JpegErrors : jpeg_error_mgr {
  JpegErrors() {
    jpeg_std_error(this);
    error_exit = raise;
    emit_message = observe;
    output_message = [](j_common_ptr) {};
  }

  /// After the last line: whether pixels are missing or made up, which libjpeg fills with gray.
  bool lost_pixels() {
    if (lost_) reason = "its data are damaged or end too early";
    return lost_;
  }

  /// Whether there are bytes that belong to no part of the file. They cost no pixels: all who read JPEG read
  /// over them.
  [[nodiscard]] bool has_junk() const { return junk_; }

  std::string reason;
  std::jmp_buf return_to{};

 private:
  static void raise(j_common_ptr jpeg) {
    constexpr int kLossless = 0xC3;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    auto* errors = static_cast<JpegErrors*>(jpeg->err);
    errors->reason = text;
    if (errors->msg_code == JERR_SOF_UNSUPPORTED && errors->msg_parm.i[0] == kLossless)
      errors->reason = "lossless JPEG is not supported";
    if (errors->msg_code == JERR_BAD_PRECISION)
      errors->reason = fmt::format("{} bits a sample are not supported", errors->msg_parm.i[0]);
    std::longjmp(errors->return_to, 1);
  }

  static void observe(j_common_ptr jpeg, int level) {
    if (level >= 0) return;
    auto* errors = static_cast<JpegErrors*>(jpeg->err);
    switch (errors->msg_code) {
      case JWRN_JPEG_EOF:
      case JWRN_HIT_MARKER:
      case JWRN_HUFF_BAD_CODE:
      case JWRN_ARITH_BAD_CODE:
      case JWRN_MUST_RESYNC:
        errors->lost_ = true;
        break;
      case JWRN_EXTRANEOUS_DATA:
        errors->junk_ = true;
        break;
      default:  // versions, unknown colour transforms, scans in an unusual order
        break;
    }
  }

  bool lost_ = false, junk_ = false;
};

}  // namespace cohort
