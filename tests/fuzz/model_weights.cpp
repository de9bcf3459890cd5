// Weights into models: names of any publisher brought to ours, shapes compared, positions and patch kernels resized.
#include <array>
#include <memory>

#include "clipself/formats/state_dict.h"
#include "clipself/models/weights.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace clipself;

std::shared_ptr<models::ClipModel> make_model(const std::string& vision, const std::string& text) {
  const std::string shape = R"("image_size": 4, "patch_size": 2, "width": 4, "layers": 1, "head_width": 4, )";
  const std::string config = R"({"embed_dim": 4, "vision_cfg": {)" + shape + vision +
                             R"(}, "text_cfg": {"context_length": 3,
      "vocab_size": 8, "width": 4, "heads": 1, "layers": 1)" +
                             text + "}}";
  return std::make_shared<models::ClipModel>(models::parse_config(config, "tiny"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::InputFile file;
  static const std::array all{
      make_model(R"("mlp_ratio": 1)", ""),
      make_model(R"("mlp_ratio": 1, "eva_model_name": "eva", "rope": true, "intp_freq": true, "pt_hw_seq_len": 2,
                    "naiveswiglu": true, "subln": true)",
                 ""),
      make_model(R"("mlp_ratio": 1, "timm_model_name": "vit_base_patch16_siglip_224")",
                 R"(, "no_causal_mask": true, "proj_bias": true, "pool_type": "last")")};
  fuzz::expect_error_or_success([&] {
    const auto tensors = formats::read_state_dict(file.holding(data, size)).tensors;
    for (const auto& model : all)
      fuzz::expect_error_or_success([&] { static_cast<void>(models::load_weights(*model, tensors, "input")); });
  });
  return 0;
}
