// The flags of clipself train, by the names users of the Python original know.
#include "cli/train_run.h"

namespace clipself::cli {

void TrainFlags::add_to(CLI::App& app) {
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
  processes.add_to(app);
  run.add_to(app, "--zeroshot-frequency", "Evaluate every so many epochs, and before the first (0: never)");
}

}  // namespace clipself::cli
