#include "clipself/scenes/contrastive.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "clipself/base/thread_pool.h"
#include "clipself/datasets/transforms.h"
#include "clipself/scenes/captions.h"
#include "clipself/scenes/render.h"
#include "clipself/training/optimizer.h"
#include "clipself/training/schedule.h"

namespace clipself::scenes {

namespace {

// The first part of pretraining shows things that fill the picture, the next ever more of the world.
constexpr double kEasyPart = 0.15;
constexpr double kHarderPart = 0.35;

// The picture in the middle of a black square, as crops of regions are shown to a model.
void paste_centred(const formats::Image& picture, int size, std::uint8_t* planes) {
  const int left = (size - picture.width) / 2, top = (size - picture.height) / 2;
  const auto plane = static_cast<std::ptrdiff_t>(size) * size;
  for (int y = 0; y < picture.height; ++y) {
    const std::uint8_t* row = picture.row(y);
    std::uint8_t* target = planes + static_cast<std::ptrdiff_t>(y + top) * size + left;
    for (int x = 0; x < picture.width; ++x)
      for (int c = 0; c < 3; ++c) target[c * plane + x] = row[3 * x + c];
  }
}

}  // namespace

models::ClipConfig world_model_config() {
  const std::string json = fmt::format(R"({{
    "embed_dim": 64,
    "vision_cfg": {{"image_size": 48, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8, "mlp_ratio": 2.5,
      "eva_model_name": "eva-clip-world", "rope": true, "pt_hw_seq_len": 16, "intp_freq": true, "naiveswiglu": true,
      "subln": true}},
    "text_cfg": {{"context_length": {}, "vocab_size": {}, "width": 64, "heads": 2, "layers": 2}}}})",
                                       kContextLength, vocabulary_size());
  return models::parse_config(json, "world");
}

Contrastive::Contrastive(std::shared_ptr<models::ClipModel> model) : model_(std::move(model)) {}

training::LossTerms Contrastive::losses(const datasets::Batch& batch, Rng& /*rng*/) {
  const at::Tensor images = datasets::model_input(*model_, batch.images);
  const auto [rows, caption_of, counts] =
      at::unique_dim(at::stack(batch.labels), 0, /*sorted=*/true, /*return_inverse=*/true);
  return {{"loss_contrastive",
           contrastive_loss(model_->encode_image(images, /*normalized=*/true),
                            model_->encode_text(rows, /*normalized=*/true), caption_of, model_->logit_scale().exp())}};
}

std::vector<std::pair<std::string, at::Tensor>> Contrastive::parameters() {
  return model_->trainable();
}

void Contrastive::after_step() {
  const at::NoGradGuard no_grad;
  model_->logit_scale().clamp_(0.0, std::log(100.0));
}

at::Tensor contrastive_loss(const at::Tensor& images, const at::Tensor& captions, const at::Tensor& caption_of,
                            const at::Tensor& scale) {
  const at::Tensor each = captions.index_select(0, caption_of);
  const at::Tensor logits = scale * images.matmul(each.t());
  const at::Tensor same = (caption_of.unsqueeze(1) == caption_of.unsqueeze(0)).to(at::kFloat);
  const at::Tensor answers = same / same.sum(1, /*keepdim=*/true);
  const auto cross_entropy = [&](const at::Tensor& scores) { return -(answers * scores.log_softmax(1)).sum(1).mean(); };
  return 0.5 * (cross_entropy(logits) + cross_entropy(logits.t()));
}

datasets::Batch close_up_batch(std::uint64_t seed, std::int64_t step, int count, double variety, int image_size) {
  datasets::Batch batch;
  batch.images = at::zeros({count, 3, image_size, image_size}, at::kByte);
  const std::ptrdiff_t stride = std::ptrdiff_t{3} * image_size * image_size;
  auto* pixels = batch.images.mutable_data_ptr<std::uint8_t>();
  for (int i = 0; i < count; ++i) {
    Rng rng(seed, 1000 + static_cast<std::uint64_t>(step), static_cast<std::uint64_t>(i));
    const CloseUp view = make_close_up(variety, rng);
    const double width = view.window.x1 - view.window.x0, height = view.window.y1 - view.window.y0;
    const double scale = image_size / std::max(width, height);
    const auto side = [&](double units) {
      return std::clamp(static_cast<int>(std::lround(units * scale)), 1, image_size);
    };
    paste_centred(render(view.scene, view.window, side(width), side(height)).image, image_size, pixels + i * stride);
    batch.image_ids.push_back(i);
    const std::vector<std::int64_t> tokens = tokenize(view.caption);
    batch.labels.push_back(at::tensor(tokens, at::kLong));
  }
  return batch;
}

void initialize_small_model(models::ClipModel& model, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(seed);
  for (auto& item : model.named_parameters()) {
    at::Tensor& tensor = item.value();
    if (item.key() == "visual.pos_embed") {
      tensor.normal_(0.0, 0.3, generator);
    } else if (item.key().starts_with("visual.blocks.") && tensor.dim() == 2) {
      const double depth = std::stod(item.key().substr(std::strlen("visual.blocks.")));  // of "visual.blocks.2.attn..."
      const bool into_stream = item.key().ends_with("proj.weight") && !item.key().ends_with("_proj.weight");
      const bool out_of_mlp = item.key().ends_with("w3.weight");
      tensor.normal_(0.0, 0.06 / (into_stream || out_of_mlp ? std::sqrt(2.0 * (std::floor(depth) + 1)) : 1.0),
                     generator);
    } else if (item.key() == "visual.head.weight") {
      tensor.normal_(0.0, 0.06, generator);
    }
  }
}

bool pretrain(std::shared_ptr<models::ClipModel> model, const PretrainOptions& options) {
  Contrastive objective(model);
  training::AdamW optimizer(objective.parameters(), {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.05});
  const training::Schedule schedule{.base_lr = options.lr, .warmup_steps = 50, .total_steps = options.steps};
  const int image_size = model->visual().image_size();
  const auto batch_of = [&](std::int64_t step) {
    const double done = static_cast<double>(step) / static_cast<double>(options.steps);
    const double variety = std::clamp((done - kEasyPart) / kHarderPart, 0.0, 1.0);
    return close_up_batch(options.seed, step, options.batch_size, variety, image_size);
  };
  ThreadPool painter(1);  // draws the next batch while this one is learned
  auto next = painter.submit([&] { return batch_of(0); });
  for (std::int64_t step = 0; step < options.steps; ++step) {
    const datasets::Batch batch = next.get();
    if (step + 1 < options.steps) next = painter.submit([&, step] { return batch_of(step + 1); });
    Rng rng(options.seed, 1, static_cast<std::uint64_t>(step));
    training::StepReport report =
        train_step(objective, optimizer, {batch}, schedule.at(step), /*grad_clip_norm=*/1.0, rng);
    report.step = step;
    if (options.on_step) options.on_step(report);
    if (options.should_stop && options.should_stop()) return false;
  }
  return true;
}

at::Tensor class_embeddings(models::ClipModel& model) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> classes;
  for (int label = 0; label < kClasses; ++label) {
    std::vector<at::Tensor> rows;
    for (const std::string& prompt : class_prompts(label)) rows.push_back(at::tensor(tokenize(prompt), at::kLong));
    classes.push_back(model.encode_text(at::stack(rows), /*normalized=*/true).mean(0));
  }
  const at::Tensor all = at::stack(classes);
  return all / all.norm(2, {1}, /*keepdim=*/true);
}

}  // namespace clipself::scenes
