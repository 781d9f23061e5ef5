"""Answers to the exercises of chapter 00, as readers write them."""

import numpy as np
import torch

from answers.kit import right, wrong
from course.exercises import first_prediction as chapter


@right(chapter.top_k)
def top_by_sorting(logits, k):
    p = logits.softmax(0).tolist()
    order = sorted(range(len(p)), key=lambda i: -p[i])
    return [(i, p[i]) for i in order[:k]]


@right(chapter.top_k)
def top_with_numpy(scores, k):
    values = scores.numpy().astype(float)
    values = np.exp(values - values.max())
    values = values / values.sum()
    best = np.argsort(-values)[:k]
    return tuple((i, values[i]) for i in best)


@right(chapter.top_k)
def top_of_the_logits_first(logits, k):
    shares = torch.softmax(logits, 0)
    return [[int(i), float(shares[i])] for i in logits.topk(k).indices]


@wrong(chapter.top_k, "logits instead of probabilities", score=0)
def top_logits(logits, k):
    best = logits.argsort(descending=True)[:k]
    return [(int(i), float(logits[i])) for i in best]


@wrong(chapter.top_k, "softmax over the chosen only")
def top_softmax_late(logits, k):
    values, indices = torch.topk(logits, k)
    shares = torch.softmax(values, dim=0)
    return [(int(i), float(p)) for i, p in zip(indices, shares, strict=True)]


@wrong(chapter.top_k, "upside down")
def top_ascending(logits, k):
    p = torch.softmax(logits, dim=0)
    best = p.argsort()[-k:]
    return [(int(i), float(p[i])) for i in best]


@wrong(chapter.top_k, "the least likely classes")
def top_worst(logits, k):
    p = torch.softmax(logits, dim=0)
    worst = p.argsort()[:k]
    return [(int(i), float(p[i])) for i in worst]


@wrong(chapter.top_k, "pairs the wrong way round")
def top_swapped(logits, k):
    p = torch.softmax(logits, dim=0).topk(k)
    return list(zip(p.values.tolist(), p.indices.tolist(), strict=True))


@wrong(chapter.top_k, "sorted by index")
def top_by_index(logits, k):
    p = torch.softmax(logits, dim=0)
    kept = sorted(p.topk(k).indices.tolist())
    return [(i, p[i].item()) for i in kept]


@wrong(chapter.top_k, "sigmoid instead of softmax")
def top_sigmoid(logits, k):
    p = 1 / (1 + (-logits).exp())
    values, indices = p.topk(k)
    return [(i.item(), v.item()) for i, v in zip(indices, values, strict=True)]


@wrong(chapter.top_k, "logarithms of probabilities")
def top_logs(logits, k):
    values, indices = torch.softmax(logits, dim=0).log().topk(k)
    return list(zip(indices.tolist(), values.tolist(), strict=True))


@wrong(chapter.top_k, "exponentials overflow", score=2 / 3)
def top_overflow(logits, k):
    e = torch.exp(logits)
    values, indices = (e / e.sum()).topk(k)
    return list(zip(indices.tolist(), values.tolist(), strict=True))


@wrong(chapter.top_k, "a tied class twice")
def top_index_of(logits, k):
    p = torch.softmax(logits, dim=0).tolist()
    best = sorted(p)[::-1][:k]
    return [(p.index(value), value) for value in best]


@wrong(chapter.top_k, "two lists instead of pairs", score=0)
def top_two_lists(logits, k):
    values, indices = torch.softmax(logits, dim=0).topk(k)
    return values, indices


@right(chapter.normalise)
def normalise_in_one_line(image, mean, std):
    shape = (3, 1, 1)
    m, s = torch.tensor(mean).view(shape), torch.tensor(std).view(shape)
    return (image / 255.0 - m) / s


@right(chapter.normalise)
def normalise_with_numpy(picture, mean, std):
    values = picture.numpy().astype("float32").transpose(1, 2, 0) / 255
    values = (values - np.array(mean)) / np.array(std)
    return values.transpose(2, 0, 1)


@right(chapter.normalise)
def normalise_by_channel(image, mean, std):
    result = image.clone().float()
    for c in range(3):
        result[c] = (result[c] - 255 * mean[c]) / (255 * std[c])
    return result


def column(values):
    return torch.tensor(values).reshape(3, 1, 1)


@wrong(chapter.normalise, "not divided by 255", score=0)
def normalise_bytes(image, mean, std):
    return (image.float() - column(mean)) / column(std)


@wrong(chapter.normalise, "whole-number division")
def normalise_whole(image, mean, std):
    return (image // 255 - column(mean)) / column(std)


@wrong(chapter.normalise, "divided by 256")
def normalise_256(image, mean, std):
    return (image / 256 - column(mean)) / column(std)


@wrong(chapter.normalise, "normalisation missing")
def normalise_not(image, mean, std):
    return image.float() / 255


@wrong(chapter.normalise, "normalisation of another model", score=1 / 3)
def normalise_imagenet(image, mean, std):
    m = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    s = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return (image / 255 - m) / s


@wrong(chapter.normalise, "the picture's own statistics")
def normalise_itself(image, mean, std):
    x = image.float() / 255
    return (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), keepdim=True)


@wrong(chapter.normalise, "one mean for all channels")
def normalise_grey(image, mean, std):
    return (image / 255 - sum(mean) / 3) / (sum(std) / 3)


@wrong(chapter.normalise, "statistics in the order BGR")
def normalise_bgr(image, mean, std):
    return (image / 255 - column(mean[::-1])) / column(std[::-1])


@wrong(chapter.normalise, "divided before the mean was subtracted")
def normalise_no_brackets(image, mean, std):
    return image / 255 / column(std) - column(mean)


@wrong(chapter.normalise, "divided in place")
def normalise_in_place(image, mean, std):
    image /= 255
    return (image - column(mean)) / column(std)


@wrong(chapter.normalise, "a batch instead of a picture")
def normalise_batch(image, mean, std):
    x = image.unsqueeze(0) / 255
    return (x - column(mean)) / column(std)


@right(chapter.name_it)
def name_with_eval(network, image, mean, std, names):
    network.eval()
    x = (image / 255 - column(mean)) / column(std)
    with torch.no_grad():
        p = torch.softmax(network(x[None])[0], dim=0)
    value, place = p.max(dim=0)
    return names[place], value


@right(chapter.name_it)
def name_with_train_false(network, picture, mean, std, names):
    network.train(False)
    x = torch.stack(
        [(c / 255 - m) / s for c, m, s in zip(picture, mean, std, strict=True)]
    )
    p = network(x.unsqueeze(0)).detach().softmax(1).squeeze(0).tolist()
    best = p.index(max(p))
    return [names[best], p[best]]


@right(chapter.name_it)
def name_and_mode_put_back(network, image, mean, std, names):
    before = network.training
    network.eval()
    with torch.inference_mode():
        x = (image.float().div(255) - column(mean)).div(column(std))
        p = network(x[None]).softmax(-1)
    network.train(before)
    return names[int(p.argmax())], float(p.max())


def answered(network, x, names):
    with torch.no_grad():
        p = network(x).softmax(dim=1)[0]
    return names[int(p.argmax())], p.max().item()


@wrong(chapter.name_it, "eval mode forgotten", score=0.5)
def name_in_any_mode(network, image, mean, std, names):
    x = ((image / 255 - column(mean)) / column(std))[None]
    return answered(network, x, names)


@wrong(chapter.name_it, "normalisation of another model", score=0.5)
def name_by_imagenet(network, image, mean, std, names):
    network.eval()
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    x = ((image / 255 - column(mean)) / column(std))[None]
    return answered(network, x, names)


@wrong(chapter.name_it, "normalisation missing")
def name_raw(network, image, mean, std, names):
    network.eval()
    return answered(network, image[None].float() / 255, names)


@wrong(chapter.name_it, "both bugs left")
def name_tidied_only(network, image, mean, std, names):
    mean, std = column([0.485, 0.456, 0.406]), column([0.229, 0.224, 0.225])
    return answered(network, ((image / 255 - mean) / std)[None], names)


@wrong(chapter.name_it, "Dropout left on")
def name_one_layer_at_rest(network, image, mean, std, names):
    for layer in network:
        if type(layer).__name__ == "BatchNorm2d":
            layer.eval()
    x = ((image / 255 - column(mean)) / column(std))[None]
    return answered(network, x, names)


@wrong(chapter.name_it, "not divided by 255")
def name_bytes(network, image, mean, std, names):
    network.eval()
    return answered(network, ((image - column(mean)) / column(std))[None], names)


@wrong(chapter.name_it, "softmax over the wrong axis", score=0)
def name_over_the_batch(network, image, mean, std, names):
    network.eval()
    x = ((image / 255 - column(mean)) / column(std))[None]
    p = network(x).detach().softmax(dim=0)[0]
    return names[int(p.argmax())], p.max().item()


@wrong(chapter.name_it, "no batch", score=0)
def name_alone(network, image, mean, std, names):
    network.eval()
    return answered(network, (image / 255 - column(mean)) / column(std), names)


@wrong(chapter.name_it, "number instead of name")
def name_number(network, image, mean, std, names):
    network.eval()
    x = ((image / 255 - column(mean)) / column(std))[None]
    p = network(x).detach().softmax(dim=1)[0]
    return int(p.argmax()), float(p.max())


@wrong(chapter.name_it, "logit instead of probability")
def name_logit(network, image, mean, std, names):
    network.eval()
    x = ((image / 255 - column(mean)) / column(std))[None]
    z = network(x).detach()[0]
    return names[int(z.argmax())], z.max().item()


@wrong(chapter.name_it, "the name alone")
def name_only(network, image, mean, std, names):
    network.eval()
    x = ((image / 255 - column(mean)) / column(std))[None]
    return answered(network, x, names)[0]


@right(chapter.which_part)
def part_by_first_word(purpose):
    first = purpose.split()[0]
    if first in ("choose", "decide"):
        return "validation"
    return "test" if first in ("report", "compare") else "train"


@right(chapter.which_part)
def part_by_table(purpose):
    table = {
        "compute": "train",
        "fit": "train",
        "measure": "train",
        "choose": "validation",
        "decide": "validation",
        "report": "test",
        "compare": "test",
    }
    return table[purpose.partition(" ")[0]]


@right(chapter.which_part)
def part_by_words(text):
    if "final" in text or "once everything is chosen" in text:
        return "test"
    for word in ["choose", "decide"]:
        if word in text:
            return "validation"
    return "train"


def part(purpose, learn="train", choose="validation", show="test"):
    if purpose.startswith(("choose", "decide")):
        return choose
    return show if purpose.startswith(("report", "compare")) else learn


@wrong(chapter.which_part, "selection on the test part", score=2 / 3)
def part_choose_on_test(purpose):
    return part(purpose, choose="test")


@wrong(chapter.which_part, "selection on the training part")
def part_choose_on_train(purpose):
    return part(purpose, choose="train")


@wrong(chapter.which_part, "accuracy on the training part")
def part_report_train(purpose):
    return part(purpose, show="train")


@wrong(chapter.which_part, "validation part reported")
def part_report_validation(purpose):
    return part(purpose, show="validation")


@wrong(chapter.which_part, "stopped on the test part", score=2 / 3)
def part_stop_on_test(purpose):
    return "test" if "stop" in purpose else part(purpose)


@wrong(chapter.which_part, "stopped on the training part")
def part_stop_on_train(purpose):
    return "train" if "stop" in purpose else part(purpose)


@wrong(chapter.which_part, "compared on the validation part")
def part_compare_on_validation(purpose):
    return "validation" if "compare" in purpose else part(purpose)


@wrong(chapter.which_part, "statistics of the test part")
def part_statistics_of_test(purpose):
    return "test" if "mean and std" in purpose else part(purpose)


@wrong(chapter.which_part, "learning from the test part")
def part_learn_on_test(purpose):
    return part(purpose, learn="test")


@wrong(chapter.which_part, "a name cut short")
def part_val(purpose):
    return part(purpose, choose="val")


@wrong(chapter.which_part, "everything on the training part", score=1 / 3)
def part_always_train(purpose):
    return "train"


@wrong(chapter.which_part, "validation and test swapped")
def part_swapped(purpose):
    return part(purpose, choose="test", show="validation")
