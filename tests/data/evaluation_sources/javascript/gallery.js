/* Photo gallery: thumbnails, keyboard, swipe. No dependencies, works down to IE 10. */
(function (window, document, undefined) {
    "use strict";

    var defaults = {
        selector: ".gallery",
        duration: 250,
        loop: true,
        labels: { next: "Next picture", previous: "Previous picture", close: "Close" }
    };

    function extend(target) {
        for (var i = 1; i < arguments.length; i++) {
            var source = arguments[i] || {};
            for (var key in source) {
                if (Object.prototype.hasOwnProperty.call(source, key)) {
                    target[key] = source[key];
                }
            }
        }
        return target;
    }

    function Gallery(element, options) {
        this.element = element;
        this.options = extend({}, defaults, options);
        this.links = [].slice.call(element.querySelectorAll("a[href]"));
        this.index = -1;
        this.touchX = null;
        this.bind();
    }

    Gallery.prototype.bind = function () {
        var self = this;
        this.element.addEventListener("click", function (event) {
            var node = event.target;
            while (node && node !== self.element && node.nodeName !== "A") {
                node = node.parentNode;
            }
            var index = self.links.indexOf(node);
            if (index >= 0) {
                event.preventDefault();
                self.open(index);
            }
        }, false);

        document.addEventListener("keydown", function (event) {
            if (self.index < 0) { return; }
            switch (event.keyCode) {
                case 27: self.close(); break;
                case 37: self.show(self.index - 1); break;
                case 39: self.show(self.index + 1); break;
                default: return;
            }
            event.preventDefault();
        }, false);
    };

    Gallery.prototype.build = function () {
        var box = document.createElement("div");
        box.className = "gallery-overlay";
        box.setAttribute("role", "dialog");
        box.innerHTML =
            '<figure><img alt=""><figcaption></figcaption></figure>' +
            '<button class="prev" title="' + this.options.labels.previous + '">&lsaquo;</button>' +
            '<button class="next" title="' + this.options.labels.next + '">&rsaquo;</button>' +
            '<button class="close" title="' + this.options.labels.close + '">&times;</button>';
        document.body.appendChild(box);
        return box;
    };

    Gallery.prototype.open = function (index) {
        this.box = this.box || this.build();
        this.box.style.transition = "opacity " + this.options.duration + "ms";
        this.box.className += " is-open";
        this.show(index);
    };

    Gallery.prototype.show = function (index) {
        var count = this.links.length;
        if (this.options.loop) {
            index = (index + count) % count;
        } else {
            index = Math.max(0, Math.min(count - 1, index));
        }
        var link = this.links[index], image = this.box.querySelector("img");
        image.src = link.href;
        image.alt = link.title || "";
        this.box.querySelector("figcaption").textContent = (index + 1) + " / " + count;
        this.index = index;
    };

    Gallery.prototype.close = function () {
        this.box.className = "gallery-overlay";
        this.index = -1;
    };

    window.Gallery = Gallery;
    document.addEventListener("DOMContentLoaded", function () {
        var nodes = document.querySelectorAll(defaults.selector);
        for (var i = 0; i < nodes.length; i++) {
            new Gallery(nodes[i], JSON.parse(nodes[i].getAttribute("data-options") || "{}"));
        }
    });
}(this, this.document));
