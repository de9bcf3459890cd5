// open_clip's and Hugging Face's model configurations.
#include "clipself/models/config.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clipself;
  fuzz::expect_error_or_success([&] {
    const auto config = models::parse_config(std::string(fuzz::text(data, size)), "input");
    static_cast<void>(models::parse_config(models::config_json(config), "written"));
  });
  return 0;
}
