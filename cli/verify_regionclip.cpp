// Kind regionclip_step: the region-text loss on one batch, its gradients, and which classes are drawn.
#include <algorithm>

#include "cli/verify_kinds.h"
#include "cli/verify_models.h"
#include "cli/verify_training.h"
#include "clipself/base/error.h"
#include "clipself/distillation/losses.h"
#include "clipself/formats/npy.h"

namespace clipself::cli::verify {
namespace {

constexpr std::int64_t kSample = 100;  // what the original always asks for
constexpr std::int64_t kAllBlocks = 1000;

/// Images (B, 3, H, W) and boxes (B, n, 6): x0 y0 x1 y1 label valid.
datasets::Batch labelled_batch(const Case& c) {
  const auto where = c.file("inputs.safetensors").string();
  const auto inputs = c.tensors("inputs.safetensors");
  datasets::Batch batch;
  batch.images = float_images(tensor(inputs, "images", where, {-1, 3, -1, -1}));
  const auto table = tensor(inputs, "boxes", where, {batch.images.size(0), -1, 6}).to(at::kFloat);
  for (std::int64_t i = 0; i < table.size(0); ++i) {
    const auto rows = table[i].index_select(0, (table[i].select(1, 5) > 0.5).nonzero().squeeze(1));
    batch.image_ids.push_back(i);
    batch.boxes.push_back(rows.slice(1, 0, 4).contiguous());
    batch.labels.push_back(rows.select(1, 4).to(at::kLong));
  }
  return batch;
}

/// The draw itself depends on the generator; what must hold of it does not.
void check_draw(Case& c, const at::Tensor& labels, std::int64_t nouns, const at::Tensor& recorded) {
  Rng rng(0);
  const auto drawn = distillation::federated_classes(labels, nouns, kSample, rng);
  const auto present = std::get<0>(at::_unique(labels)).numel();
  c.check_value("appeared: the classes present", drawn.slice(0, 0, present), recorded.slice(0, 0, present),
                Tolerance::exact());
  c.check_that("appeared: how many", drawn.numel() == recorded.numel(), c10::str(drawn.numel(), " classes"));
  c.check_that("appeared: no class twice", std::get<0>(at::_unique(drawn)).numel() == drawn.numel(), "one is");
}

/// "fed.NAME.gt" with as many classes as are asked for, or more: no draw is needed.
void check_without_draw(Case& c, std::int64_t nouns) {
  constexpr std::string_view kPrefix = "fed.", kLabels = ".gt";
  const auto names = c.expected_names();
  for (const auto& name : names) {
    if (!name.starts_with(kPrefix) || !name.ends_with(kLabels)) continue;
    const auto labels = c.input_among_expected(name).to(at::kLong);
    const auto classes = std::max(nouns, labels.numel() > 0 ? labels.max().item<std::int64_t>() + 1 : 0);
    Rng rng(0);
    c.check(name.substr(0, name.size() - kLabels.size()) + ".appeared",
            distillation::federated_classes(labels, classes, kSample, rng), Tolerance::exact());
  }
}

}  // namespace

void verify_regionclip_step(Case& c) {
  constexpr const char* kModel = "../eva_b_like";
  const auto info = c.json("info.json");
  const auto batch = labelled_batch(c);
  const auto nouns = formats::read_npy(c.file("train_embed.npy"));
  c.load_expected("expected.safetensors");

  const auto model = load_model(c, kModel);
  lock_as_original(*model, kAllBlocks);
  const auto targets = distillation::noun_teacher(nouns, at::kCPU)(batch);
  const auto appeared = c.input_among_expected("appeared").to(at::kLong);
  if (appeared.dim() != 1 || appeared.numel() == 0 || appeared.min().item<std::int64_t>() < 0 ||
      appeared.max().item<std::int64_t>() >= targets.bank.size(0)) {
    throw Error({.doing = "reading tensor 'appeared' of",
                 .where = c.file("expected.safetensors").string(),
                 .found = "classes that are no rows of train_embed.npy"});
  }
  const auto features = model->encode_boxes(batch.images, batch.boxes, /*normalized=*/true);
  const auto scale = model->logit_scale().exp();
  const auto loss = distillation::federated_bce(features, targets, appeared, scale);
  loss.backward();

  c.check("noun_embeddings", targets.bank, Tolerance::abs(1e-6));
  c.check("box_labels", targets.index, Tolerance::exact());
  c.check("box_features", features, kFeature);
  c.check("temp", scale, Tolerance::abs(1e-3));
  c.check("loss_contrast", loss, Tolerance::rel(1e-4));
  const auto trained = model->trainable();
  for (const auto& [name, parameter] : trained)
    if (parameter.grad().defined() || c.expects("grad." + name))
      c.check("grad." + name, parameter.grad(), {.absolute = 1e-3, .relative = 1e-3}, "grad.*");
  if (info.contains("trainable_without_grad")) {
    c.check_json("trainable_without_grad",
                 names_where(trained, [](const at::Tensor& p) { return !p.grad().defined(); }),
                 info["trainable_without_grad"]);
  }
  check_draw(c, targets.index, targets.bank.size(0), appeared);
  check_without_draw(c, targets.bank.size(0));
}

}  // namespace clipself::cli::verify
