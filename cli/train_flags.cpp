// The flags of clipself train, by the names users of the Python original know.
#include "cli/train_run.h"

namespace clipself::cli {

void TrainFlags::add_to(CLI::App& app) {
  const auto positive = CLI::Range(1, 1 << 30);
  const auto part = CLI::Range(0.0, 1.0);
  model.add_to(app);
  app.add_option("--data-root", data_root, "Put in front of every relative data path");
  app.add_option("--train-data", train_data, "COCO- or LVIS-format JSON, or a folder of images (grid only)")
      ->required();
  app.add_option("--train-image-root", train_image_root, "Folder of the JSON's images");
  method.add_to(app);
  app.add_option("--max-split", max_split, "Grids have at most this many rows and columns")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  app.add_option("--max-boxes", max_boxes, "Regions taken from an image at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  app.add_option("--min-size", min_size, "Proposals of less than this squared, in pixels, are left out")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--max-size", max_size, "Proposals of more than this squared, in pixels, are left out")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--crop-scale", crop_scale,
                 "The teacher's crop is the region enlarged by this (0: 1 for a grid, 1.5 for boxes)")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 16.0));
  app.add_option("--train-ratio", train_ratio, "Use this part of the images, drawn by the seed")
      ->capture_default_str()
      ->check(part);
  app.add_flag("--exif-orientation", exif_orientation,
               "Turn photos as their EXIF tag says (the Python original does not)");
  app.add_option("--max-unreadable", max_unreadable,
                 "Stop when more than this part of the images (and more than 10, unless 0) cannot be read")
      ->capture_default_str()
      ->check(part);
  app.add_option("--batch-size", batch_size, "Images a batch")->capture_default_str()->check(positive);
  app.add_option("--accum-freq", accum_freq, "Batches a step")->capture_default_str()->check(positive);
  app.add_option("--epochs", epochs, "Passes over the images")->capture_default_str()->check(positive);
  app.add_option("--lr", lr, "Highest learning rate")->capture_default_str()->check(above_zero());
  app.add_option("--wd", wd, "Weight decay of matrices")->capture_default_str()->check(not_negative());
  app.add_option("--beta1", beta1, "AdamW beta 1")->capture_default_str()->check(part_below_one());
  app.add_option("--beta2", beta2, "AdamW beta 2")->capture_default_str()->check(part_below_one());
  app.add_option("--eps", eps, "AdamW epsilon")->capture_default_str()->check(above_zero());
  app.add_option("--warmup", warmup, "Steps of linear warm-up")->capture_default_str()->check(not_negative());
  app.add_option("--lr-scheduler", lr_scheduler, "cosine, const or const-cooldown")
      ->capture_default_str()
      ->check(CLI::IsMember({"cosine", "const", "const-cooldown"}));
  app.add_option("--epochs-cooldown", epochs_cooldown, "const-cooldown: the last epochs, in which the rate falls")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--lr-cooldown-power", lr_cooldown_power, "const-cooldown: power of the fall (1: linear)")
      ->capture_default_str()
      ->check(above_zero());
  app.add_option("--lr-cooldown-end", lr_cooldown_end, "const-cooldown: the last rate")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--grad-clip-norm", grad_clip_norm, "Largest joint norm of the gradients (0: no limit)")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--lock-image-unlocked-groups", unlocked_groups,
                 "Train this many of the last blocks (0: none; the Python original takes 0 as all)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  app.add_flag("--grad-checkpointing", grad_checkpointing,
               "Compute activations twice instead of keeping them: less memory, more time");
  app.add_option("--alpha", alpha, "Evaluated and saved weights = alpha * student + (1 - alpha) * teacher")
      ->capture_default_str()
      ->check(part);
  validation.add_to(app, false);
  app.add_option("--zeroshot-frequency", zeroshot_frequency,
                 "Evaluate every so many epochs, and before the first (0: never)")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("--save-frequency", save_frequency, "Save epoch_N.pt every so many epochs; the last is always saved")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 30));
  app.add_option("--save-every-n-steps", save_every_steps,
                 "Also save step_N.pt every so many steps, in place of the one before (0: never)")
      ->capture_default_str()
      ->check(not_negative());
  app.add_option("--log-every-n-steps", log_every, "A log line every so many steps")
      ->capture_default_str()
      ->check(positive);
  app.add_option("--logs", logs, "Folder of all experiments")->capture_default_str();
  app.add_option("--name", name, "Name of this experiment, a folder below --logs (default: from date and settings)");
  app.add_option("--resume", resume, "Go on from this checkpoint, or 'latest' for the experiment's newest");
}

}  // namespace clipself::cli
