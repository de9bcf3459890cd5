// Batch normalisation over the batches of several processes (SyncBN).
#pragma once

#include "clipself/base/torch.h"
#include "clipself/distributed/processes.h"

namespace clipself::ops {

/// Statistics of all processes' `x` together: its channels' mean and biased variance (C), and how many numbers a channel
/// has in all of them.
struct ChannelStatistics {
  at::Tensor mean, variance;
  double count = 0;
};

/// (x - mean) / sqrt(variance + eps) * weight + bias, mean and variance being those of every process's x (B, C, H, W)
/// together, whose B, H and W may differ, and B may be 0: what batch_norm gives for all of them concatenated (Ioffe,
/// Szegedy 2015), also in its gradients. Those of weight and bias are each process's own part, as of any loss.
/// Float32. Also gives the statistics, which carry no gradient.
std::pair<at::Tensor, ChannelStatistics> batch_norm_of_all(const at::Tensor& x, const at::Tensor& weight,
                                                           const at::Tensor& bias, double eps,
                                                           const std::shared_ptr<distributed::Processes>& processes);

}  // namespace clipself::ops
