;;; slm-lsp-document.el --- What slm-lsp's server knows of a buffer  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns a buffer's URI, its version, and the changes that the server does not
;; know yet.
;;
;; Invariant: the server's text has a line for each of the buffer's, and as many
;; UTF-16 units in each as the buffer's line: bytes that are no text are sent as
;; U+FFFD, carriage returns (which LSP takes for the end of a line) as spaces.
;; After `slm-lsp--flush' the server has the buffer's text as it is.

;;; Code:

(require 'cl-lib)
(require 'project)
(require 'slm-lsp-server)

(defvar slm-lsp-language-ids
  '((c++ . "cpp") (sh . "shellscript") (bash . "shellscript") (js . "javascript")
    (js2 . "javascript") (js3 . "javascript") (js-jsx . "javascriptreact")
    (js2-jsx . "javascriptreact") (rjsx . "javascriptreact") (tsx . "typescriptreact")
    (js-json . "json") (cperl . "perl") (enh-ruby . "ruby") (mhtml . "html") (web . "html")
    (nxml . "xml") (sgml . "xml") (objc . "objective-c") (gfm . "markdown") (tuareg . "ocaml")
    (caml . "ocaml") (ess-r . "r") (rustic . "rust") (go-mod . "go.mod") (conf . "ini")
    (conf-unix . "ini") (conf-windows . "ini") (conf-toml . "toml") (makefile-gmake . "makefile")
    (makefile-bsdmake . "makefile") (makefile-automake . "makefile"))
  "Language ids of LSP where they are not what a major mode is called.")

(defvar slm-lsp-max-pending-changes 200
  "From so many changes on, the whole text is sent instead.")

(defvar-local slm-lsp--uri nil "The URI under which the server has the buffer open, or nil.")
(defvar-local slm-lsp--version 0)
(defvar-local slm-lsp--changes nil
  "The changes that the server was not told of, newest first.
Or the symbol `all', where it is to get the whole text.")
(defvar-local slm-lsp--before nil "What is about to change: (BEG END START-POSITION END-POSITION).")

;;; Text and positions

(defun slm-lsp--text (beg end)
  "Return the buffer's text between BEG and END as the server gets it."
  (let ((text (buffer-substring-no-properties beg end)))
    (if (not (string-match-p "[\r\ud800-\udfff\x110000-\x3fff7f\x3fff80-\x3fffff]" text))
        text
      (setq text (replace-regexp-in-string "\r" " " text t t))
      (replace-regexp-in-string "[\ud800-\udfff\x110000-\x3fff7f\x3fff80-\x3fffff]" "\ufffd" text t t))))

(defun slm-lsp--units (text)
  "Return how many UTF-16 units TEXT has."
  (+ (length text) (cl-count-if (lambda (char) (<= #x10000 char #x10ffff)) text)))

(defun slm-lsp--position (pos)
  "Return the LSP position of POS in the buffer."
  (save-excursion
    (save-restriction
      (widen)
      (goto-char pos)
      (list :line (1- (line-number-at-pos pos t))
            :character (slm-lsp--units
                        (buffer-substring-no-properties (line-beginning-position) pos))))))

(defun slm-lsp--pos (position)
  "Return where in the buffer the LSP POSITION is, as near as there is."
  (save-excursion
    (save-restriction
      (widen)
      (goto-char (point-min))
      (if (> (forward-line (plist-get position :line)) 0)
          (point-max)
        (let ((n-units (plist-get position :character)))
          (while (and (> n-units 0) (not (eolp)))
            (cl-decf n-units (if (<= #x10000 (char-after) #x10ffff) 2 1))
            (forward-char))
          (point))))))

;;; Open and close

(defun slm-lsp--language-id ()
  "Return the LSP name of the buffer's language."
  (let ((name (replace-regexp-in-string "\\(?:-ts\\)?-mode\\'" "" (symbol-name major-mode))))
    (or (alist-get (intern name) slm-lsp-language-ids) name)))

(defun slm-lsp--root ()
  "Return the folder of the buffer's project."
  (let ((project (and buffer-file-name (project-current))))
    (expand-file-name (if project (project-root project) default-directory))))

(defun slm-lsp--open ()
  "Let the server know of the buffer, starting one if there is none."
  (slm-lsp--ensure (slm-lsp--root))
  (when (and (slm-lsp--ready-p) (not slm-lsp--uri))
    (setq slm-lsp--uri (if buffer-file-name
                           (slm-lsp--path-to-uri buffer-file-name)
                         (concat "untitled:" (url-hexify-string (buffer-name))))
          slm-lsp--version 0
          slm-lsp--changes nil)
    (slm-lsp--notify :textDocument/didOpen
                     (list :textDocument
                           (list :uri slm-lsp--uri
                                 :languageId (slm-lsp--language-id)
                                 :version slm-lsp--version
                                 :text (slm-lsp--whole-text))))))

(defun slm-lsp--close ()
  "Let the server forget the buffer."
  (when slm-lsp--uri
    (slm-lsp--notify :textDocument/didClose (list :textDocument (list :uri slm-lsp--uri)))
    (setq slm-lsp--uri nil)))

(defun slm-lsp--reopen ()
  "Let the server know of the buffer under its new name."
  (slm-lsp--close)
  (slm-lsp--open))

(defun slm-lsp--saved ()
  "Tell the server that the buffer is on the disk."
  (when slm-lsp--uri
    (slm-lsp--flush)
    (slm-lsp--notify :textDocument/didSave (list :textDocument (list :uri slm-lsp--uri)))))

(defun slm-lsp--whole-text ()
  "Return the whole text of the buffer as the server gets it."
  (save-restriction
    (widen)
    (slm-lsp--text (point-min) (point-max))))

;;; Changes

(defun slm-lsp--before-change (beg end)
  "Note where BEG and END are, before a change of the text between them."
  (when (and slm-lsp--uri (not (eq slm-lsp--changes 'all)))
    (setq slm-lsp--before (list beg end (slm-lsp--position beg) (slm-lsp--position end)))))

(defun slm-lsp--after-change (beg end n-old)
  "Note that N-OLD characters became the text between BEG and END."
  (when (and slm-lsp--uri (not (eq slm-lsp--changes 'all)))
    (pcase slm-lsp--before
      ;; Emacs may announce more than it changes then.
      ((and `(,old-beg ,old-end ,start ,finish)
            (guard (and (= old-beg beg)
                        (= (- old-end old-beg) n-old)
                        (< (length slm-lsp--changes) slm-lsp-max-pending-changes))))
       (push (list :range (list :start start :end finish) :text (slm-lsp--text beg end))
             slm-lsp--changes))
      (_ (setq slm-lsp--changes 'all)))
    (setq slm-lsp--before nil)))

(defun slm-lsp--flush ()
  "Send what the server was not told of yet."
  (when (and slm-lsp--uri slm-lsp--changes)
    (let ((changes (if (eq slm-lsp--changes 'all)
                       (vector (list :text (slm-lsp--whole-text)))
                     (vconcat (nreverse slm-lsp--changes)))))
      (setq slm-lsp--changes nil)
      (slm-lsp--notify :textDocument/didChange
                       (list :textDocument (list :uri slm-lsp--uri
                                                 :version (cl-incf slm-lsp--version))
                             :contentChanges changes)))))

(provide 'slm-lsp-document)
;;; slm-lsp-document.el ends here
