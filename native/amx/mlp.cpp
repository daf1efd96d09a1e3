// The gated MLP of rhapsode.nn.blocks in bf16 on AMX.
#include "activations.h"
#include "make.h"
#include "parameters.h"
#include "threads.h"

namespace rhapsode::amx {
namespace {

// Pairs of columns of a = W_in z alternate: 32 units' gates, the same units' ups.
class TileMlp : public GatedMlp {
 public:
  TileMlp(int64_t H, int64_t M)
      : H_(H), M_(M), weight_in_("weight_in", GateColumns{2, 2, M}, H), weight_out_("weight_out", GateColumns{1, 2, H}, M) {}

  std::vector<Parameter*> parameters() override { return {&weight_in_, &weight_out_}; }

  const Activations& forward(const Activations& z, bool training) override {
    output_.of_panels = !dynamic_cast<const TileActivations*>(&z);
    reader_.read_packed(z, training);
    a_ = shape(a_data_, weight_in_.Q() * PAIR), inner_ = shape(inner_data_, M_), output_.tiles = shape(output_data_, H_);
    inner_turned_ = {};
    if (training) {
      turned_data_.reserve(inner_.size() + inner_.width() * 2 * TILE);
      inner_turned_ = {turned_data_.data(), inner_.blocks() + 1};
    }
    parallel([&](const Team& team) {
      multiply_rows(reader_.tiles, weight_in_.forward(), a_, team.thread, team.threads);
      team.barrier();
      gate(a_, inner_, inner_turned_, team.thread, team.threads);
      team.barrier();
      multiply_rows(inner_, weight_out_.forward(), output_.tiles, team.thread, team.threads);
    });
    return output_;
  }

  const Activations& backward(const Activations&, const Activations& d_output, bool accumulate) override {
    d_reader_.read(d_output, output_.tiles, false);
    const RowTiles d_inner = shape(d_inner_data_, M_), d = d_reader_.tiles;
    d_z_.tiles = shape(d_z_data_, H_);
    const int64_t blocks = a_.blocks(), pitch = blocks + 1;
    d_tokens_.reserve(d.width() * pitch * 2 * TILE), a_tokens_.reserve(a_.width() * pitch * 2 * TILE);
    parallel([&](const Team& team) {
      arrange_tokens(d, d_tokens_.data(), pitch, team.thread, team.threads);
      multiply_rows(d, weight_out_.backward(), d_inner, team.thread, team.threads);
      team.barrier();
      gate_backward(a_, d_inner, a_tokens_.data(), pitch, team.thread, team.threads);
      team.barrier();
      multiply_rows(a_, weight_in_.backward(), d_z_.tiles, team.thread, team.threads);
      gradient(weight_out_, inner_turned_, {d_tokens_.data(), pitch, weight_out_.Q(), 0}, blocks, accumulate, team);
      gradient(weight_in_, reader_.turned, {a_tokens_.data(), pitch, weight_in_.Q(), 0}, blocks, accumulate, team);
    });
    return d_z_;
  }

 private:
  RowTiles shape(Buffer<bf16>& buffer, int64_t columns) const {
    RowTiles tiles{nullptr, reader_.tiles.T, reader_.tiles.B, columns};
    buffer.reserve(tiles.size());
    tiles.data = buffer.data();
    return tiles;
  }

  static void gradient(TileMatrix& weight, const TurnedTiles& x, const TokenTiles& d, int64_t blocks, bool accumulate,
                       const Team& team) {
    weight_gradient({x, d, blocks, weight.P(), weight.Q(), weight.gradient.data(), accumulate, Kept{}, weight.columns(),
                     nullptr},
                    team.thread, team.threads);
  }

  const int64_t H_, M_;
  TileMatrix weight_in_, weight_out_;
  TileReader reader_, d_reader_;
  RowTiles a_, inner_;  // a: W_in z, then its gradient
  TurnedTiles inner_turned_;
  TileActivations output_, d_z_;
  Buffer<bf16> a_data_, inner_data_, output_data_, turned_data_, d_inner_data_, d_z_data_, d_tokens_, a_tokens_;
};

}  // namespace

std::unique_ptr<GatedMlp> make_gated_mlp(int64_t hidden, int64_t inner) { return std::make_unique<TileMlp>(hidden, inner); }

}  // namespace rhapsode::amx
