"""Pure PyTorch: state-space mixers, the one U-Net, encoder, sampler, policy; knows no simulator and no task."""
