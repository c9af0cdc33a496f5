"""Programs in the style of the tutorials' chapters on recurrent nets and on words."""

import math

import numpy as np
import pytest
from tutorial_harness import try_gpu

import clgrad as mx
from clgrad import autograd, gluon, init, nd
from clgrad.gluon import loss as gloss
from clgrad.gluon import nn, rnn

pytestmark = pytest.mark.once

#: What the models of characters learn by heart.
TEXT = "she sells sea shells by the sea shore. the shells she sells are sea shells, i am sure. " * 12
idx_to_char = sorted(set(TEXT))
char_to_idx = {char: i for i, char in enumerate(idx_to_char)}
vocab_size = len(idx_to_char)
corpus_indices = [char_to_idx[char] for char in TEXT]


@pytest.fixture(autouse=True)
def _seeded():
    mx.random.seed(1)
    np.random.seed(1)


def data_iter_random(batch_size, num_steps, ctx):
    num_examples = (len(corpus_indices) - 1) // num_steps
    example_indices = list(range(num_examples))
    np.random.shuffle(example_indices)
    for i in range(num_examples // batch_size):
        chosen = example_indices[i * batch_size : (i + 1) * batch_size]
        X = [corpus_indices[j * num_steps : (j + 1) * num_steps] for j in chosen]
        Y = [corpus_indices[j * num_steps + 1 : (j + 1) * num_steps + 1] for j in chosen]
        yield nd.array(X, ctx), nd.array(Y, ctx)


def data_iter_consecutive(batch_size, num_steps, ctx):
    corpus = nd.array(corpus_indices, ctx=ctx)
    batch_len = len(corpus) // batch_size
    indices = corpus[0 : batch_size * batch_len].reshape((batch_size, batch_len))
    for i in range((batch_len - 1) // num_steps):
        i = i * num_steps
        yield indices[:, i : i + num_steps], indices[:, i + 1 : i + num_steps + 1]


def to_onehot(X, size):
    return [nd.one_hot(x, size) for x in X.T]


def grad_clipping(params, theta, ctx):
    norm = nd.array([0], ctx)
    for param in params:
        norm += (param.grad**2).sum()
    norm = norm.sqrt().asscalar()
    if norm > theta:
        for param in params:
            param.grad[:] *= theta / norm


# Cells from scratch: each gives its parameters, its states at first, and a function of a sequence.


def made_params(ctx, gates, num_hiddens):
    def _one(shape):
        return nd.random.normal(scale=0.1, shape=shape, ctx=ctx)

    params = []
    for _ in range(gates):
        params += [_one((vocab_size, num_hiddens)), _one((num_hiddens, num_hiddens))]
        params += [nd.zeros(num_hiddens, ctx=ctx)]
    params += [_one((num_hiddens, vocab_size)), nd.zeros(vocab_size, ctx=ctx)]
    for param in params:
        param.attach_grad()
    return params


def simple_rnn(inputs, state, params):
    W_xh, W_hh, b_h, W_hq, b_q = params
    (H,) = state
    outputs = []
    for X in inputs:
        H = nd.tanh(nd.dot(X, W_xh) + nd.dot(H, W_hh) + b_h)
        outputs.append(nd.dot(H, W_hq) + b_q)
    return outputs, (H,)


def gru(inputs, state, params):
    W_xz, W_hz, b_z, W_xr, W_hr, b_r, W_xh, W_hh, b_h, W_hq, b_q = params
    (H,) = state
    outputs = []
    for X in inputs:
        Z = nd.sigmoid(nd.dot(X, W_xz) + nd.dot(H, W_hz) + b_z)
        R = nd.sigmoid(nd.dot(X, W_xr) + nd.dot(H, W_hr) + b_r)
        H_tilda = nd.tanh(nd.dot(X, W_xh) + nd.dot(R * H, W_hh) + b_h)
        H = Z * H + (1 - Z) * H_tilda
        outputs.append(nd.dot(H, W_hq) + b_q)
    return outputs, (H,)


def lstm(inputs, state, params):
    W_xi, W_hi, b_i, W_xf, W_hf, b_f, W_xo, W_ho, b_o, W_xc, W_hc, b_c, W_hq, b_q = params
    H, C = state
    outputs = []
    for X in inputs:
        I = nd.sigmoid(nd.dot(X, W_xi) + nd.dot(H, W_hi) + b_i)
        F = nd.sigmoid(nd.dot(X, W_xf) + nd.dot(H, W_hf) + b_f)
        O = nd.sigmoid(nd.dot(X, W_xo) + nd.dot(H, W_ho) + b_o)
        C_tilda = nd.tanh(nd.dot(X, W_xc) + nd.dot(H, W_hc) + b_c)
        C = F * C + I * C_tilda
        H = O * C.tanh()
        outputs.append(nd.dot(H, W_hq) + b_q)
    return outputs, (H, C)


def predict(prefix, num_chars, cell, params, state, ctx):
    output = [char_to_idx[prefix[0]]]
    for t in range(num_chars + len(prefix) - 1):
        X = to_onehot(nd.array([output[-1:]], ctx=ctx), vocab_size)
        Y, state = cell(X, state, params)
        if t < len(prefix) - 1:
            output.append(char_to_idx[prefix[t + 1]])
        else:
            output.append(int(Y[0].argmax(axis=1).asscalar()))
    return "".join(idx_to_char[i] for i in output)


@pytest.mark.parametrize(
    ("cell", "gates", "is_random_iter", "lr"),
    [(simple_rnn, 1, True, 2.0), (gru, 3, False, 4.0), (lstm, 4, False, 8.0)],
)
def test_cells_from_scratch(cell, gates, is_random_iter, lr):
    """Characters of a text, by steps of clipped gradients; states are cut off from batch to batch."""
    ctx = try_gpu()
    num_hiddens, batch_size, num_steps = 48, 16, 16
    params = made_params(ctx, gates, num_hiddens)

    def begin(size):
        return tuple(nd.zeros(shape=(size, num_hiddens), ctx=ctx) for _ in range(2 if cell is lstm else 1))

    data_iter = data_iter_random if is_random_iter else data_iter_consecutive
    perplexities = []
    for _ in range(15):
        state = begin(batch_size)
        l_sum, n = 0.0, 0
        for X, Y in data_iter(batch_size, num_steps, ctx):
            state = begin(batch_size) if is_random_iter else tuple(s.detach() for s in state)
            with autograd.record():
                outputs, state = cell(to_onehot(X, vocab_size), state, params)
                outputs = nd.concat(*outputs, dim=0)
                y = Y.T.reshape((-1,))
                loss = -nd.pick(nd.log_softmax(outputs), y).mean()
            loss.backward()
            grad_clipping(params, 1.0, ctx)
            for param in params:
                param[:] = param - lr * param.grad
            l_sum += loss.asscalar() * y.size
            n += y.size
        perplexities.append(math.exp(l_sum / n))
    assert perplexities[0] > 1.5 * min(perplexities[-3:])
    assert min(perplexities[-3:]) < 6
    written = predict("she s", 8, cell, params, begin(1), ctx)
    assert len(written) == 13
    assert written.startswith("she s")


class RNNModel(nn.Block):
    """A recurrent layer between an embedding and a decoder, whose weights may be the embedding's."""

    def __init__(self, mode, num_embed, num_hidden, num_layers, dropout=0.2, tie_weights=False, **kwargs):
        super().__init__(**kwargs)
        with self.name_scope():
            self.drop = nn.Dropout(dropout)
            self.encoder = nn.Embedding(vocab_size, num_embed, weight_initializer=mx.init.Uniform(0.1))
            if mode == "rnn_relu":
                self.rnn = rnn.RNN(
                    num_hidden, num_layers, activation="relu", dropout=dropout, input_size=num_embed
                )
            else:
                layer = {"lstm": rnn.LSTM, "gru": rnn.GRU}[mode]
                self.rnn = layer(num_hidden, num_layers, dropout=dropout, input_size=num_embed)
            shared = self.encoder.params if tie_weights else None
            self.decoder = nn.Dense(vocab_size, in_units=num_hidden, params=shared)
            self.num_hidden = num_hidden

    def forward(self, inputs, hidden):
        emb = self.drop(self.encoder(inputs))
        output, hidden = self.rnn(emb, hidden)
        output = self.drop(output)
        decoded = self.decoder(output.reshape((-1, self.num_hidden)))
        return decoded, hidden

    def begin_state(self, *args, **kwargs):
        return self.rnn.begin_state(*args, **kwargs)


def detach(hidden):
    if isinstance(hidden, (tuple, list)):
        return [detach(i) for i in hidden]
    return hidden.detach()


@pytest.mark.parametrize(("mode", "tied"), [("rnn_relu", False), ("lstm", True), ("gru", False)])
def test_language_models_of_gluon(mode, tied, tmp_path):
    """Batches in columns, truncated backpropagation, joint norms of gradients, the best epoch's file."""
    context = try_gpu()
    batch_size, bptt, clip = 8, 16, 0.5
    batches = len(corpus_indices) // batch_size
    data = nd.array(corpus_indices[: batches * batch_size]).reshape((batch_size, batches)).T
    data = data.as_in_context(context)
    model = RNNModel(mode, 40, 40, 1, dropout=0.1, tie_weights=tied)
    model.collect_params().initialize(mx.init.Xavier(), ctx=context)
    trainer = gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 3.0, "momentum": 0, "wd": 0})
    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    best = float("inf")
    for _ in range(12):
        total_L, n = 0.0, 0
        hidden = model.begin_state(func=mx.nd.zeros, batch_size=batch_size, ctx=context)
        for i in range(0, data.shape[0] - 1, bptt):
            seq_len = min(bptt, data.shape[0] - 1 - i)
            inputs, target = data[i : i + seq_len], data[i + 1 : i + 1 + seq_len].reshape((-1,))
            hidden = detach(hidden)
            with autograd.record():
                output, hidden = model(inputs, hidden)
                L = loss_of(output, target)
            L.backward()
            grads = [i.grad(context) for i in model.collect_params().values()]
            gluon.utils.clip_global_norm(grads, clip * seq_len * batch_size)
            trainer.step(seq_len * batch_size)
            total_L += mx.nd.sum(L).asscalar()
            n += target.size
        if total_L / n < best:
            best = total_L / n
            model.save_parameters(str(tmp_path / "best.params"))
    assert best < 1.2
    model.load_parameters(str(tmp_path / "best.params"), context)
    hidden = model.begin_state(func=mx.nd.zeros, batch_size=batch_size, ctx=context)
    output, _ = model(data[:bptt], hidden)
    assert loss_of(output, data[1 : bptt + 1].reshape((-1,))).mean().asscalar() < 2.5
    if tied:
        assert model.encoder.weight is model.decoder.weight


def test_cells_are_unrolled_and_hybridized():
    """A bidirectional stack of cells says whether bits begin and end with a one."""
    ctx = try_gpu()
    X = np.random.randint(0, 2, (128, 6))
    y = nd.array(X[:, 0] & X[:, 5], ctx=ctx)
    cell = rnn.HybridSequentialRNNCell()
    with cell.name_scope():
        cell.add(rnn.BidirectionalCell(rnn.GRUCell(16), rnn.GRUCell(16)))
        cell.add(rnn.DropoutCell(0.05))
        cell.add(rnn.ResidualCell(rnn.LSTMCell(32, input_size=32)))
    head = nn.Dense(2)
    for block in (cell, head):
        block.initialize(init.Xavier(), ctx=ctx)
        block.hybridize()
    params = cell.collect_params()
    params.update(head.collect_params())
    trainer = gluon.Trainer(params, "adam", {"learning_rate": 0.02})
    inputs = nd.one_hot(nd.array(X, ctx=ctx), 2)
    loss_of = gloss.SoftmaxCELoss()
    for _ in range(50):
        with autograd.record():
            outputs, _ = cell.unroll(6, inputs, layout="NTC", merge_outputs=True)
            logits = head(outputs.mean(axis=1))
            loss = loss_of(logits, y)
        loss.backward()
        trainer.step(128)
    assert nd.mean(logits.argmax(axis=1) == y).asscalar() > 0.9


# Words: attention over a sequence, convolutions of text, and skip-grams.


class Encoder(nn.Block):
    def __init__(self, embed_size, num_hiddens, **kwargs):
        super().__init__(**kwargs)
        self.embedding = nn.Embedding(12, embed_size)
        self.rnn = rnn.GRU(num_hiddens, 1)

    def forward(self, inputs, state):
        return self.rnn(self.embedding(inputs).swapaxes(0, 1), state)

    def begin_state(self, *args, **kwargs):
        return self.rnn.begin_state(*args, **kwargs)


def attention_forward(model, enc_states, dec_state):
    dec_states = nd.broadcast_axis(dec_state.expand_dims(0), axis=0, size=enc_states.shape[0])
    enc_and_dec_states = nd.concat(enc_states, dec_states, dim=2)
    alpha = nd.softmax(model(enc_and_dec_states), axis=0)
    return (alpha * enc_states).sum(axis=0)


class Decoder(nn.Block):
    def __init__(self, embed_size, num_hiddens, **kwargs):
        super().__init__(**kwargs)
        self.embedding = nn.Embedding(12, embed_size)
        self.attention = nn.Sequential()
        self.attention.add(nn.Dense(16, activation="tanh", use_bias=False, flatten=False))
        self.attention.add(nn.Dense(1, use_bias=False, flatten=False))
        self.rnn = rnn.GRU(num_hiddens, 1)
        self.out = nn.Dense(12, flatten=False)

    def forward(self, cur_input, state, enc_states):
        c = attention_forward(self.attention, enc_states, state[0][-1])
        input_and_c = nd.concat(self.embedding(cur_input), c, dim=1)
        output, state = self.rnn(input_and_c.expand_dims(0), state)
        return self.out(output).squeeze(axis=0), state


def test_translation_with_attention():
    """Sequences of digits are written backwards, word by word, with padding left out of the loss."""
    ctx = try_gpu()
    BOS, EOS, PAD, length = 10, 11, 11, 4
    source = np.random.randint(0, 10, (256, length))
    source[::2, -1] = PAD
    target = np.full((256, length + 1), EOS)
    for row, made in zip(source, target, strict=True):
        words = row[row != PAD]
        made[: len(words)] = words[::-1]
    encoder, decoder = Encoder(16, 32), Decoder(16, 32)
    trainers = []
    for block in (encoder, decoder):
        block.initialize(init.Xavier(), force_reinit=True, ctx=ctx)
        trainers.append(gluon.Trainer(block.collect_params(), "adam", {"learning_rate": 0.02}))
    loss = gloss.SoftmaxCrossEntropyLoss()
    losses = []
    for _epoch in range(10):
        for i in range(0, 256, 64):
            X, Y = nd.array(source[i : i + 64], ctx=ctx), nd.array(target[i : i + 64], ctx=ctx)
            with autograd.record():
                enc_outputs, state = encoder(X, encoder.begin_state(batch_size=64, ctx=ctx))
                dec_input = nd.array([BOS] * 64, ctx=ctx)
                mask, num_not_pad = nd.ones(shape=(64,), ctx=ctx), 0
                total = nd.array([0], ctx=ctx)
                for y in Y.T:
                    dec_output, state = decoder(dec_input, state, enc_outputs)
                    total = total + (mask * loss(dec_output, y)).sum()
                    dec_input = y
                    num_not_pad += mask.sum().asscalar()
                    mask = mask * (y != EOS)
                batch_loss = total / num_not_pad
            batch_loss.backward()
            for trainer in trainers:
                trainer.step(1)
            losses.append(batch_loss.asscalar())
    assert np.mean(losses[-4:]) < 0.6 * np.mean(losses[:4])


class TextCNN(nn.Block):
    def __init__(self, vocab, embed_size, kernel_sizes, num_channels, **kwargs):
        super().__init__(**kwargs)
        self.embedding = nn.Embedding(vocab, embed_size)
        self.constant_embedding = nn.Embedding(vocab, embed_size)
        self.dropout = nn.Dropout(0.2)
        self.decoder = nn.Dense(2)
        self.pool = nn.GlobalMaxPool1D()
        self.convs = nn.Sequential()
        for c, k in zip(num_channels, kernel_sizes, strict=True):
            self.convs.add(nn.Conv1D(c, k, activation="relu"))

    def forward(self, inputs):
        embeddings = nd.concat(self.embedding(inputs), self.constant_embedding(inputs), dim=2)
        embeddings = embeddings.transpose((0, 2, 1))
        encoding = nd.concat(*[nd.flatten(self.pool(conv(embeddings))) for conv in self.convs], dim=1)
        return self.decoder(self.dropout(encoding))


class BiRNN(nn.Block):
    def __init__(self, vocab, embed_size, num_hiddens, num_layers, **kwargs):
        super().__init__(**kwargs)
        self.embedding = nn.Embedding(vocab, embed_size)
        self.encoder = rnn.LSTM(
            num_hiddens, num_layers=num_layers, bidirectional=True, input_size=embed_size
        )
        self.decoder = nn.Dense(2)

    def forward(self, inputs):
        embeddings = self.embedding(inputs.T)
        states = self.encoder(embeddings)
        return self.decoder(nd.concat(states[0], states[-1]))


@pytest.mark.parametrize("kind", ["convolutions", "recurrent"])
def test_sentiment(kind):
    """Whether word 3 is followed by word 4; an embedding that is given stays as it is."""
    ctx = try_gpu()
    X = np.random.randint(5, 20, (256, 10))
    y = np.arange(256) % 2
    for row, label in zip(X, y, strict=True):
        place = np.random.randint(0, 8)
        row[place : place + 2] = (3, 4) if label else (4, 3)
    net = TextCNN(20, 12, [2, 3], [8, 8]) if kind == "convolutions" else BiRNN(20, 12, 16, 1)
    net.initialize(init.Xavier(), ctx=ctx)
    given = net.constant_embedding if kind == "convolutions" else net.embedding
    vectors = nd.random.normal(shape=(20, 12))
    given.weight.set_data(vectors)
    given.collect_params().setattr("grad_req", "null")
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.02})
    loss = gloss.SoftmaxCrossEntropyLoss()
    batches = gluon.data.DataLoader(gluon.data.ArrayDataset(X, y), 64, shuffle=True)
    for _ in range(12):
        for words, label in batches:
            with autograd.record():
                l = loss(net(words.as_in_context(ctx)), label.as_in_context(ctx))
            l.backward()
            trainer.step(64)
    assert nd.mean(net(nd.array(X, ctx=ctx)).argmax(axis=1) == nd.array(y, ctx=ctx)).asscalar() > 0.9
    np.testing.assert_array_equal(given.weight.data().asnumpy(), vectors.asnumpy())


def test_skip_grams():
    """Words of one half of the vocabulary stand together; their vectors become alike."""
    ctx = try_gpu()
    size = 10
    net = nn.Sequential()
    net.add(nn.Embedding(size, 8), nn.Embedding(size, 8))
    net.initialize(init.Normal(0.3), ctx=ctx)

    def skip_gram(center, contexts_and_negatives, embed_v, embed_u):
        v, u = embed_v(center), embed_u(contexts_and_negatives)
        return nd.batch_dot(v, u.swapaxes(1, 2))

    center = np.random.randint(0, size, (256, 1))
    half = center // 5 * 5
    contexts = half + np.random.randint(0, 5, (256, 3))
    negatives = 5 - half + np.random.randint(0, 5, (256, 3))
    both = nd.array(np.concatenate([contexts, negatives], 1), ctx=ctx)
    label = nd.array([[1, 1, 1, 0, 0, 0]] * 256, ctx=ctx)
    mask = nd.ones((256, 6), ctx=ctx)
    mask[:, 5] = 0
    loss = gloss.SigmoidBinaryCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.05})
    for _ in range(40):
        with autograd.record():
            pred = skip_gram(nd.array(center, ctx=ctx), both, net[0], net[1])
            l = loss(pred.reshape(label.shape), label, mask) * mask.shape[1] / mask.sum(axis=1)
        l.backward()
        trainer.step(256)
    W = net[0].weight.data()
    cos = nd.dot(W, W[1]) / nd.sqrt(nd.sum(W * W, axis=1) * nd.sum(W[1] * W[1]) + 1e-9)
    topk = nd.topk(cos, k=5, ret_typ="indices").asnumpy().astype("int32")
    assert set(topk) == {0, 1, 2, 3, 4}
